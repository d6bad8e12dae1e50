"""What is said of runs that their files do not say: options, maps, path templates and sidecars, joined into one."""
