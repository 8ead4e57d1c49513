"""How near is near enough, named once."""

# Kaldi's own expansion of compressed matrices, float32 arithmetic in another order.
COMPRESSED = 4e-6
# Kaldi writes text with 7 significant digits.
KALDI_TEXT_RELATIVE = 1e-6
# Our scores have 9 significant digits.
SCORE_TEXT_RELATIVE = 1e-8
# Back-end arithmetic in float64.
BACKEND = 1e-10
# Kaldi's PLDA: the model, and scores that it prints with 7 digits.
PLDA_MODEL = 1e-7
PLDA_SCORE = 1e-5
# Scores that peers print with 5 decimals.
PEER_SCORE = 2e-5
METRIC = 1e-6
# Kaldi's fbank, whose float32 FFT is noise in nearly empty bins: mean, 99.99 %, maximum.
FBANK_MEAN = 2e-5
FBANK_9999 = 5e-3
FBANK_MAX = 5e-2
MFCC_MAX = 7e-3
SLIDING_CMN = 1.2e-5
SLIDING_CMVN = 6e-5
# A network against the recorded output of the original, relative to the largest value.
MODEL_FORWARD = 1e-4
# Loss and gradient against the recorded ones, relative.
LOSS = 1e-6
