"""The stages of dvc.yaml: each reads the parameters, calls one function of the library, writes what it gave."""
