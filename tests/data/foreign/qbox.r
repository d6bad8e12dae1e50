<?xml version="1.0" encoding="UTF-8"?>
<fpmd:simulation xmlns:fpmd="http://www.quantum-simulation.org/ns/fpmd/fpmd-1.0">
                   I qbox 1.63.2              I
<release> 1.63.2 x86_64 </release>
<species name="hydrogen">
 <symbol>H</symbol>
 <atomic_number>1</atomic_number>
 <mass>1.008</mass>
</species>
[qbox] <cmd>run 2 10</cmd>
<iteration count="1">
  <etotal>      -1.16543210 </etotal>
<atomset>
<unit_cell
    a="12.00000000   0.00000000   0.00000000"
    b=" 0.00000000  12.00000000   0.00000000"
    c=" 0.00000000   0.00000000  12.00000000" />
  <atom name="H1" species="hydrogen">
    <position>   0.00000000   0.00000000  -0.70000000 </position>
    <velocity>   0.00000000   0.00000000   0.00000000 </velocity>
    <force>   0.00000000   0.00000000   0.01120000 </force>
  </atom>
  <atom name="H2" species="hydrogen">
    <position>   0.00000000   0.00000000   0.70000000 </position>
    <velocity>   0.00000000   0.00000000   0.00000000 </velocity>
    <force>   0.00000000   0.00000000  -0.01120000 </force>
  </atom>
</atomset>
</iteration>
<iteration count="2">
  <etotal>      -1.16554330 </etotal>
<atomset>
<unit_cell
    a="12.00000000   0.00000000   0.00000000"
    b=" 0.00000000  12.00000000   0.00000000"
    c=" 0.00000000   0.00000000  12.00000000" />
  <atom name="H1" species="hydrogen">
    <position>   0.00000000   0.00000000  -0.69340000 </position>
    <velocity>   0.00000000   0.00000000   0.00000000 </velocity>
    <force>   0.00000000   0.00000000   0.00565000 </force>
  </atom>
  <atom name="H2" species="hydrogen">
    <position>   0.00000000   0.00000000   0.69340000 </position>
    <velocity>   0.00000000   0.00000000   0.00000000 </velocity>
    <force>   0.00000000   0.00000000  -0.00565000 </force>
  </atom>
</atomset>
</iteration>
</fpmd:simulation>
