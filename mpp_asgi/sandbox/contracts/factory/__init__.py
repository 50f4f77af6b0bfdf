"""The channel factory: opens channels for whoever asks, all of the same Wasm."""
