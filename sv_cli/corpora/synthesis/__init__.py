"""Speech by a source-filter model: a glottis, a vocal tract, a room and a microphone."""
