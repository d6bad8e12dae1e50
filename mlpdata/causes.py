"""Causes: why a run was lost, and the words by which schedulers, MPI libraries and codes say so.

A sign is a literal that stands on a line, never a pattern that backtracks, so that looking for all of them takes time
in proportion to the text, whatever the text is.

References:
    SLURM: src/slurmd/slurmstepd/{req,mgr}.c, src/slurmctld/job_mgr.c (`slurmstepd: error: *** JOB ... ***`), and
    srun's task messages. OpenPBS, Torque: src/resmom (`=>> PBS: job killed: ...`). LSF: configuration reference,
    "job exit information", `TERM_...`. Grid Engine: queue_conf(5), notify, which leaves the shell's word for SIGUSR1
    and SIGXCPU. Open MPI: orterun's help-orterun.txt; MPICH and Intel MPI: hydra's pmiserv_utils.c. Intel Fortran:
    list of run-time error messages. Quantum ESPRESSO: UtilXlib/error_handler.f90, Modules/check_stop.f90. CP2K:
    cp_log_handling.F, qs_scf.F, cp_external_control.F. VASP: main.F, electron.F, and the wiki's error pages.
    ORCA: manual, "SCF convergence"; Gaussian: the list of error messages of its link 1, 502, 9999.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Literal, NamedTuple

Cause = Literal[
    "scf", "geometry", "walltime", "stopped", "memory", "crash", "input", "disk", "node", "truncated", "unreadable",
    "empty",
]  # fmt: skip

CAUSES: dict[Cause, str] = {
    "scf": "The electronic steps did not converge.",
    "geometry": "The relaxation did not converge within its steps.",
    "walltime": "The time limit of the scheduler or of the code ended the run.",
    "stopped": "The run was asked to stop by a file such as STOPCAR.",
    "memory": "There was not enough memory.",
    "crash": "The code or its MPI library broke off with an error of its own.",
    "input": "The code refused its input.",
    "disk": "There was no space left, a quota was reached, or the disk failed.",
    "node": "A node failed, or the job was preempted or cancelled.",
    "truncated": "The output ends without the program's end mark, and nothing says why.",
    "unreadable": "The output was refused by its reader.",
    "empty": "The run ended well, and no configuration came out.",
}
"""What each cause means, one sentence each."""

LONGEST = 200
"""Characters of a message that are kept."""
TRIES = 16
"""How many places of a sign's words are looked at, from the end."""
_FRAME = b" \t\r|*%#\\/_-=!+"
_WORDS = re.compile(rb"[a-z]{2}|[A-DF-NP-QS-Z]")
"""What drawings lack: the large ERROR in VASP's box, the figure in CP2K's."""


class Sign(NamedTuple):
    """Words on a line that tell a cause."""

    cause: Cause
    words: bytes
    also: bytes = b""
    """What stands on the same line, too."""
    after: int = 0
    """How many of the following lines belong to the message."""
    within: int = 1 << 20
    """Counts only so many bytes before the end: what many runs say on their way and survive."""


class Hit(NamedTuple):
    """A sign that was found."""

    rank: int
    """Place in the order of signs: the lower says more of the cause."""
    cause: Cause
    start: int
    """Offset of its line."""
    words: str
    """The message, on one line."""


def _signs(cause: Cause, *words: bytes) -> tuple[Sign, ...]:
    return tuple(Sign(cause, one) for one in words)


_KILLED = b"=>> PBS: job killed: "
SIGNS: tuple[Sign, ...] = (
    # what the scheduler or the system says of the cause
    *_signs(
        "memory", b"oom-kill", b"oom_kill", b"out-of-memory handler", b"Out Of Memory", b"OUT_OF_MEMORY",
        b"xceeded job memory limit", b"xceeded step memory limit", b"exceeded memory limit", b"TERM_MEMLIMIT",
        b"TERM_SWAP", b"Cannot allocate memory", b"annot allocate memory", b"could not allocate memory",
        b"insufficient virtual memory", b"std::bad_alloc", b"ot enough memory", b"out of memory", b"MemoryError",
    ),
    Sign("memory", _KILLED, b"mem"),
    *_signs("walltime", b"DUE TO TIME LIMIT", b"TERM_RUNLIMIT", b"TERM_CPULIMIT"),
    Sign("walltime", _KILLED, b"walltime"),
    Sign("walltime", _KILLED, b"cput"),
    *_signs(
        "disk", b"No space left on device", b"uota exceeded", b"Input/output error", b"Stale file handle",
        b"Erroneous write", b"error during write", b"Error in routine davcio",
    ),
    *_signs(
        "node", b"DUE TO NODE FAILURE", b"DUE TO PREEMPTION", b"Node failure on", b"DUE TO JOB REQUEUE",
        b"TERM_PREEMPT", b"TERM_OWNER", b"TERM_ADMIN", b"TERM_FORCE", b"TERM_REQUEUE", b"TERM_ZOMBIE", _KILLED,
    ),
    Sign("node", b"*** JOB ", b"CANCELLED AT"),
    # what the code says of it
    *_signs(
        "walltime", b"Maximum CPU time exceeded", b"exceeded requested execution time", b"ime limit exceeded",
        b"exit status 255.", b"User defined signal 1",
    ),
    *_signs(
        "stopped", b"soft stop encountered", b"hard stop encountered", b"aborting loop because hard stop was set",
        b"Program stopped by user request",
    ),
    *_signs(
        "input", b"UNRECOGNIZED OR DUPLICATED KEYWORD", b"INPUT ERROR", b"Error reading item", b"Error in routine read_namelists",
        b"Error in routine read_cards", b"Error in routine readpp",
        b"items on line 2 of POSCAR", b"the triple product of the basis vectors",
        b"QPErr", b"End of file in ZSymb", b"cannot be opened. It does not", b"unknown keyword",
    ),
    Sign("input", b"The combination of multiplicity", b"impossible"),
    Sign("input", b"Error : multiplicity"),
    Sign("scf", b"convergence NOT achieved after", b"stopping"),
    *_signs(
        "scf", b"SCF run NOT converged. To continue", b"Convergence failure -- run terminated", b"SCF did not converge",
        b"KohnShamConvergenceError", b"Could not converge SCF", b"SCFConvergenceError",
    ),
    Sign("scf", b"SCF NOT CONVERGED AFTER", within=8192),
    Sign("scf", b"FULLY CONVERGED!", b"NOT", within=8192),
    *_signs(
        "geometry", b"Number of steps exceeded", b"MAXIMUM NUMBER OF OPTIMIZATION STEPS REACHED",
        b"The optimization did not converge but reached the maximum", b"The maximum number of steps has been reached.",
        b"ions did not converge",
    ),
    # that it broke off, in words of its own
    *_signs(
        "crash", b"ZBRENT: fatal", b"BRMIX: very serious problems", b"EDDDAV: Call to ZHEGV failed",
        b"EDDDAV: Call to", b"LAPACK: Routine", b"PSSYEVX", b"EDWAV: internal error", b"ERROR FEXC", b"ERROR RSPHER",
        b"SBESSELITER", b"TOO FEW BANDS", b"REAL_OPTLAY: internal error", b"POSMAP internal error",
        b"Fatal error detecting k-mesh", b"rotation matrix was not found",
    ),
    Sign("crash", b"Error in routine", after=1),
    Sign("crash", b"[ABORT]", after=2),
    Sign("crash", b"VERY BAD NEWS", after=1),
    Sign("crash", b"EEEEEEE ", after=5),
    *_signs("crash", b"I REFUSE TO CONTINUE", b"internal error", b"ORCA finished by error termination",
            b"Error termination"),
    # that it broke off, in words of the system
    *_signs(
        "crash", b"egmentation fault", b"SIGSEGV", b"Bus error", b"SIGBUS", b"loating point exception", b"SIGFPE",
        b"llegal instruction", b"forrtl: severe", b"error while loading shared libraries", b"core dumped",
        b"exited on signal", b"MPI_ABORT was invoked", b"MPI_Abort(",
    ),
    Sign("crash", b"BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES", after=3),
    *_signs("crash", b"Killed", b"KILLED BY SIGNAL"),
    # srun cancels the other tasks of a step once one broke off: this alone says least
    Sign("node", b"CANCELLED AT"),
)  # fmt: skip
"""Every sign, those first that tell the cause and not just that there is one: a run that is out of memory is also
killed, and its MPI library reports a signal."""


def strongest(text: bytes, ignored: Container[Cause] = ()) -> Hit | None:
    """The sign in `text` that says most of the cause, at its last place; None where there is none.

    Args:
        text: a log, or the end of one.
        ignored: causes that the run cannot have.
    """
    for rank, sign in enumerate(SIGNS):
        likely = sign.words in text and sign.cause not in ignored
        start = _last_line(text, sign) if likely else None
        if start is not None:
            return Hit(rank, sign.cause, start, _message(text, start, sign.after))
    return None


def _last_line(text: bytes, sign: Sign) -> int | None:
    """Where the last line begins that bears a sign."""
    first, end = max(0, len(text) - sign.within), len(text)
    for _ in range(TRIES):
        found = text.rfind(sign.words, first, end)
        if found < 0:
            return None
        start = text.rfind(b"\n", 0, found) + 1
        if sign.also in text[start : _end_of_line(text, found)]:
            return start
        end = start
    return None


def _end_of_line(text: bytes, place: int) -> int:
    end = text.find(b"\n", place)
    return len(text) if end < 0 else end


def _message(text: bytes, start: int, after: int) -> str:
    """The line at `start` and those that belong to it, frames of stars and bars taken away, on one line."""
    lines = text[start : start + LONGEST * (after + 1) * 2].split(b"\n")[: after + 1]
    said = [line.strip(_FRAME) for line in lines]
    return one_line(b" ".join(line for line in said if _WORDS.search(line)))


def one_line(text: bytes | str) -> str:
    """Words of a file on one line, at most `LONGEST` characters; what is no UTF-8 becomes a mark."""
    whole = (text if isinstance(text, bytes) else text.encode("utf-8", "replace")).decode("utf-8", "replace")
    return " ".join(whole[: 4 * LONGEST].split())[:LONGEST]
