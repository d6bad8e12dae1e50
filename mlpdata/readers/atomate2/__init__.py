"""Task documents: runs of VASP as atomate, atomate2 and jobflow keep them, in JSON."""
