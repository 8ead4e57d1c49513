"""Suffixes of the audio files that libsndfile reads."""

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for names in ("wav flac ogg oga opus mp3", "sph nist aiff aif aifc au snd w64 rf64 caf")
    for name in names.split()
)
