"""mlpdata: outputs of quantum-chemistry codes as versioned, unit-safe, licensed datasets."""
