"""The map of pitfalls: where each trap of real output files is proved to be handled.

Each number is named in a docstring or comment where the code handles it, and each test named here lays the trap in a
small file of its own and shows that the right number comes out, or none. V: VASP, G: Gaussian, O: ORCA, Q: Quantum
ESPRESSO, C: CP2K, X: any code. U: what users of other readers reported. L: what a label is.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROOFS = """
V1   vasp_xml::v1_vasp_5_tags_shifted_by_one_are_put_right
V1   vasp_xml::v1_a_small_free_energy_is_not_taken_for_an_entropy
V2   vasp_xml::v2_the_energy_is_that_of_the_step_and_the_difference_is_told
V3   vasp_xml::v3_with_pstress_the_enthalpy_loses_pv
V3   vasp_xml::v3_with_pstress_an_energy_that_is_no_enthalpy_is_absent
V3   vasp_outcar::v3_with_pstress_the_energy_is_not_the_enthalpy
V3   vasp_h5::v3_with_pstress_no_energy_is_taken_since_the_file_does_not_say_which_it_is
V4   vasp_xml::v4_response_iterations_after_the_forces_are_not_the_energy
V4   vasp_outcar::v4_iterations_of_linear_response_are_neither_steps_nor_energies
V5   vasp_xml::v5_of_an_md_step_neither_the_kinetic_nor_the_conserved_energy_is_taken
V5   vasp_outcar::a_run_is_read_as_printed_in_canonical_units
V6   vasp_xml::v6_a_step_without_labels_is_no_error_and_costs_no_frame
V6   vasp_outcar::v6_a_run_without_labels_is_no_error_and_costs_no_frame
V7   vasp_outcar::v7_v8_convergence_of_each_step_is_yes_no_or_unknown
V8   vasp_xml::v7_v8_convergence_of_each_step_is_yes_no_or_unknown
V8   joining::convergence_that_the_first_file_leaves_open_is_what_the_other_says
V9   vasp_xml::v9_ediff_is_the_incar_s_and_stars_are_unknown
V9   vasp_outcar_method::v9_ediff_is_the_one_that_vasp_6_repeats_from_incar
V10  runs::a_frame_that_is_rejected_is_left_out_with_its_line_and_reason
V11  vasp_xml::v11_machine_learned_steps_are_counted_and_never_read
V11  vasp_xml::v11_in_a_run_that_learns_a_step_without_iterations_is_no_dft
V11  vasp_outcar::v11_a_learned_force_field_labels_no_frame_and_is_counted
V11  vasp_outcar::v11_a_learned_stress_does_not_stand_in_for_one_that_dft_did_not_compute
V11  vasp_h5::v11_a_run_with_a_learned_force_field_gives_no_frame
V11  cp2k_pitfalls::labels_of_a_neural_network_are_said_to_be_so
V12  vasp_outcar::v12_forces_are_paired_by_step_where_only_some_steps_print_them
V12  vasp_outcar::v12_a_single_point_without_forces_has_the_positions_of_its_header
V12  vasp_xml::v12_a_step_without_stress_keeps_its_other_labels
V13  vasp_xml::v13_a_file_cut_at_any_line_gives_its_whole_frames_and_never_a_wrong_number
V13  vasp_outcar::v13_a_step_that_was_cut_is_left_out_with_its_line
V14  vasp_xml::v14_images_in_one_file_are_refused
V14  vasp_xml::v14_forces_of_an_elastic_band_are_marked_as_projected
V14  vasp_outcar::v14_an_image_of_a_band_has_the_force_of_dft
V15  vasp_xml::v15_stars_in_an_iteration_cost_nothing
V15  vasp_outcar::v15_stars_cost_their_frame_and_no_other
V16  vasp_outcar::v16_forces_without_dispersion_beside_the_forces_are_not_read
V16  vasp_outcar::v16_numbers_that_touch_are_told_apart_by_their_columns
V17  vasp_outcar_method::v17_the_file_with_most_digits_gives_the_frames
V17  files_of_one_run::they_become_one_calculation_that_names_them_all
V18  vasp_outcar::v18_the_stress_is_xx_yy_zz_xy_yz_zx_and_positive_in_tension
V19  vasp_xml::v19_a_half_printed_element_is_recovered_from_the_potential
V19  vasp_xml::v19_the_functional_has_one_name_however_it_is_spelled
V20  vasp_h5::v20_energies_are_found_by_their_tags_and_a_stress_of_zeros_is_absent
V21  vasp_xml::v21_content_decides_not_the_name
G1   gaussian_pitfalls::restored_axes_are_those_of_the_input
G1   gaussian_pitfalls::axes_that_are_not_restored_are_those_printed_last
G1   gaussian_pitfalls::forces_with_a_torque_in_both_axes_are_dropped_with_their_line
G2   gaussian_pitfalls::the_last_of_two_tables_of_a_step_counts
G3   gaussian_pitfalls::the_archive_has_the_positions_of_forces_whose_axes_are_not_printed
G3   gaussian_pitfalls::a_last_geometry_that_no_archive_has_in_the_axes_of_its_forces_is_left_out
G4   gaussian_pitfalls::z_matrix_orientation_is_the_inputs
G4   gaussian_pitfalls::dummies_and_ghosts_are_no_atoms
G4   gaussian_pitfalls::translation_vectors_are_the_cell
G5   gaussian_pitfalls::columns_that_touch_are_told_apart_by_their_width
G6   gaussian_pitfalls::forces_of_mp2_belong_to_its_total_energy
G6   gaussian_pitfalls::an_energy_that_the_route_does_not_explain_is_absent
G6   gaussian_pitfalls::the_forces_of_an_excited_state_belong_to_its_energy
G6   gaussian_pitfalls::an_oniom_energy_is_the_extrapolated_one
G6   gaussian_pitfalls::another_program_is_asked_by_external
G7   gaussian_pitfalls::the_route_names_the_line_of_the_total_energy
G8   gaussian_pitfalls::each_job_is_a_run_with_its_own_method_charge_and_molecule
G9   gaussian_pitfalls::forces_without_an_energy_of_their_geometry_are_left_out
G10  gaussian_pitfalls::an_scf_that_failed_marks_its_frame
G10  gaussian::an_error_termination_is_failed_with_its_line_and_keeps_the_frames_before
G11  gaussian::a_log_with_windows_line_ends_reads_the_same
G11  gaussian_pitfalls::a_route_of_several_lines_is_joined_without_spaces
G12  gaussian_pitfalls::every_step_of_a_trajectory_is_a_frame
O1   orca::forces_are_minus_the_gradient_in_hartree_per_bohr
O1   orca_beside::a_gradient_of_engrad_is_turned_into_forces
O2   orca::the_energy_is_the_final_one_with_dispersion_not_the_total_scf_energy
O3   orca_pitfalls::a_final_energy_of_a_root_is_named_as_such_where_only_excitations_were_asked_for
O3   orca_beside::the_state_of_a_final_energy_is_found_among_those_listed
O4   orca_pitfalls::an_scf_that_failed_marks_the_frame_though_the_energy_has_no_suffix
O5   orca_pitfalls::each_job_of_one_input_is_a_run_with_its_own_method_charge_and_geometry
O5   orca::the_final_evaluation_of_an_optimisation_has_no_forces
O6   orca_pitfalls::a_numerical_gradient_after_a_displaced_geometry_is_left_out
O6   orca_pitfalls::a_projected_gradient_is_no_gradient
O7   orca_pitfalls::coordinates_in_angstrom_serve_where_those_in_bohr_are_not_printed
O7   orca_pitfalls::an_energy_without_any_coordinates_is_left_out
O8   orca_pitfalls::an_extrapolation_is_one_frame_with_the_extrapolated_energy
O9   orca_pitfalls::coordinates_that_the_integrator_announces_are_not_those_of_the_last_energy
O10  orca_pitfalls::what_is_no_atom_and_acts_on_the_electrons_is_named_and_has_no_forces
O10  orca_pitfalls::a_single_atom_has_an_energy_and_no_forces
O11  orca_pitfalls::a_gradient_with_words_in_its_rows_is_left_out
O11  orca_pitfalls::a_warning_above_the_gradient_does_not_hide_it
Q1   espresso_text::a_printed_pressure_becomes_a_stress_that_is_positive_in_tension
Q1   espresso_text::forces_and_stress_whose_unit_is_not_known_are_not_taken_for_another
Q1   espresso_xml::a_single_point_is_read_in_hartree_units
Q2   espresso_text::smearing_makes_the_energy_a_free_energy
Q2   espresso_xml::smearing_makes_the_energy_a_free_energy
Q3   espresso_text::of_several_energies_of_one_geometry_the_last_before_the_forces_counts
Q3   espresso_text::what_forces_are_is_known_where_further_scfs_precede_them
Q4   espresso_text::the_first_force_table_is_the_total
Q4   espresso_text::forces_that_pw_itself_calls_noisy_are_told
Q5   espresso_text::a_variable_cell_has_each_step_its_own_cell_and_the_final_scf_is_marked
Q5   espresso_text::a_run_that_stopped_by_itself_failed_for_the_reason_it_gives
Q5   espresso_xml::convergence_of_the_ions_is_not_that_of_the_electrons
Q6   espresso_text::several_runs_of_one_log_are_several_runs
Q6   espresso_xml::a_stress_of_zeros_was_not_computed
Q7   espresso_text::flags_of_fixed_atoms_are_no_coordinates_and_their_forces_stay
Q7   espresso_xml::forces_on_fixed_atoms_are_zeroed_and_masked
C1   cp2k_pitfalls::the_energy_is_read_in_each_wording_of_its_unit
C1   cp2k_pitfalls::an_unknown_unit_of_stress_costs_the_stress_and_is_said
C2   cp2k_pitfalls::the_stress_is_positive_in_compression_in_the_log_and_in_tension_here
C2   cp2k::the_stress_of_the_program_is_the_change_of_its_energy_with_the_volume
C3   cp2k_pitfalls::a_restart_begins_with_a_step_that_its_companion_lacks
C3   cp2k_pitfalls::the_element_is_the_one_printed_and_not_the_name_of_the_kind
C4   cp2k_pitfalls::an_scf_that_did_not_converge_marks_its_frame_though_the_run_goes_on
C4   cp2k_pitfalls::inner_loops_of_an_outer_scf_say_nothing_of_convergence
C5   cp2k::dynamics_take_positions_from_the_companion_by_step_and_energy
X1   vasp_xml::x1_a_cell_is_kept_as_printed_whatever_its_orientation
X1   foreign::dpdata_turns_no_cell
X2   units::pint_is_told_the_pinned_constants
X3   extxyz::units_that_the_file_states_must_be_those_declared
X3   declared::two_names_for_one_label_are_refused_with_both
X3   declared::a_stress_and_a_virial_are_refused_until_one_is_named
X4   foreign::molecules_have_no_cell
X4   extxyz::what_is_not_periodic_has_no_cell
X4   gpaw_text::a_molecule_has_no_cell_whatever_box_it_is_in
X5   gates::net_force_is_measured_per_atom
X5   gates::torque_is_the_couple_over_size_and_atoms
X5   gates::a_stress_may_differ_from_its_transpose_by_rounding_only
X5   gates::labels_that_lack_their_other_half_are_marked
X5   energy_work::labels_that_do_not_belong_together_are_caught
U1   gaussian_pitfalls::forces_with_a_torque_are_paired_with_the_other_axes_where_they_have_none
U2   units::constants_are_those_of_scipy
U3   orca_beside::a_gradient_of_engrad_is_turned_into_forces
U4   orca_beside::the_output_and_the_property_file_of_a_run_agree
U5   gaussian_pitfalls::only_the_last_forces_of_a_run_are_those_of_the_archive
U6   frames::ase_gets_the_force_consistent_energy_under_both_names
U7   vasp_xml::v2_the_energy_is_that_of_the_step_and_the_difference_is_told
U8   vasp_outcar::v11_a_learned_force_field_labels_no_frame_and_is_counted
U9   vasp_outcar::v11_a_learned_stress_does_not_stand_in_for_one_that_dft_did_not_compute
U10  vasp_outcar::v16_forces_without_dispersion_beside_the_forces_are_not_read
U11  vasp_outcar::v7_v8_convergence_of_each_step_is_yes_no_or_unknown
U12  vasp_outcar::v3_with_pstress_the_energy_is_not_the_enthalpy
U13  cp2k_pitfalls::an_unknown_unit_of_stress_costs_the_stress_and_is_said
U14  declared::a_virial_becomes_minus_itself_over_the_volume
U14  declared::six_numbers_are_xx_yy_zz_yz_xz_xy
U14  declared::a_stress_positive_in_compression_changes_its_sign_and_a_virial_does_not
U15  vasp_xml::v5_of_an_md_step_neither_the_kinetic_nor_the_conserved_energy_is_taken
U15  orca_beside::files_of_one_job_are_one_run_and_the_output_gives_the_frames
U15  pyscf::forces_are_minus_the_printed_gradient
L:energy       frames::ase_gets_the_force_consistent_energy_under_both_names
L:energy       cp2k::the_energy_of_the_program_with_smearing_is_the_one_that_its_forces_derive_from
L:energy       gpaw_text::the_energy_is_the_free_energy_and_the_extrapolated_one_stands_beside_it
L:energy       foreign::ase_is_asked_for_the_free_energy_of_castep_and_not_for_its_first_choice
L:energy       foreign::occupations_with_entropy_are_refused_where_the_energy_would_lack_it
L:energy       pyscf::with_smearing_the_label_is_the_free_energy
L:energy       vasp_xml::energies_scaled_for_a_thermodynamic_integration_are_of_unknown_kind
L:projected    gates::projected_forces_are_rejected_and_energies_without_them_are_not
L:learned      gates::labels_of_a_learned_potential_are_rejected
L:biased       cp2k_pitfalls::metadynamics_biases_the_forces
L:external     vasp_xml::what_acts_from_outside_is_named
L:external     espresso_text::forces_in_a_field_are_said_to_be_so
L:external     espresso_xml::forces_in_a_field_are_said_to_be_so
L:external     gpaw_text::forces_in_a_field_are_said_to_be_so
L:zeroed       cp2k_pitfalls::a_force_set_to_zero_on_a_fixed_atom_is_masked
L:zeroed       orca_pitfalls::a_force_that_is_zeroed_on_a_held_atom_is_masked
L:zeroed       gaussian::forces_that_are_zero_on_held_atoms_are_masked
L:fixed        vasp_xml::atoms_that_selective_dynamics_holds_are_known
L:stress       vasp_outcar::the_stress_does_not_hold_the_motion_of_the_ions
L:stress       espresso_cp::the_motion_of_the_nuclei_is_taken_off_the_stress
L:cell         runs::a_volume_that_left_the_basis_of_the_first_cell_is_told
L:cell         cp2k_pitfalls::where_the_cell_moves_the_grids_are_those_of_the_first
L:cell         espresso_cp::where_the_cell_moves_the_plane_waves_are_those_of_the_first
L:temperature  cp2k::the_set_point_of_a_thermostat_is_its_temperature_and_microcanonical_runs_have_none
L:temperature  vasp_outcar::the_temperature_of_the_ions_is_read_unless_the_cell_moves_too
L:temperature  espresso_text::the_temperature_belongs_to_the_step_above_it
L:beads        cp2k_pitfalls::beads_of_path_integrals_and_other_kinds_of_run_are_not_paired
L:time         units::the_time_steps_of_two_codes
L:time         espresso_cp::velocities_are_in_atomic_units_of_time
L:ratio        ratio::a_mistaken_unit_is_named
"""
"""What is proved, and by which test: `test_<file>.py::test_<name>`."""

PAIRS = [tuple(line.split()) for line in PROOFS.strip().splitlines()]
NUMBERED = {"V": 21, "G": 12, "O": 11, "Q": 7, "C": 5, "X": 5, "U": 15}


def test_every_pitfall_has_a_proof() -> None:
    expected = {f"{letter}{number}" for letter, last in NUMBERED.items() for number in range(1, last + 1)}

    assert {pitfall for pitfall, _ in PAIRS if not pitfall.startswith("L:")} == expected
    assert len(set(PAIRS)) == len(PAIRS)


@pytest.mark.parametrize("proof", sorted({proof for _, proof in PAIRS}))
def test_the_proof_is_there(proof: str) -> None:
    file, name = proof.split("::")

    assert f"test_{name}" in functions(file)


@pytest.mark.parametrize("pitfall", sorted({pitfall for pitfall, _ in PAIRS if pitfall[0] in "VGOQCX"}))
def test_the_number_is_named_where_the_code_handles_it(pitfall: str) -> None:
    assert re.search(rf"\b{pitfall}\b", prose())


@functools.cache
def functions(file: str) -> frozenset[str]:
    """Names of the functions of test files called `test_<file>.py`."""
    paths = (ROOT / "tests" / "unit").rglob(f"test_{file}.py")
    return frozenset(
        node.name for path in paths for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    )


@functools.cache
def prose() -> str:
    """Comments and docstrings of the package."""
    tokens = (
        token
        for path in sorted((ROOT / "mlpdata").rglob("*.py"))
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    )
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""'))
    )
