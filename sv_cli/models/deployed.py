"""How many parameters the RepVGG networks have in deploy form, one fused convolution a layer."""

# Counted, and held by a test; the dilated branches of rsbb fuse into 5x5 kernels.
DEPLOYED: dict[str, int] = {
    "repvgg_tiny_a0": 6_264_352,
    "repvgg_tiny_rsbb_a0": 15_063_072,
    "repvgg_a0": 13_581_376,
    "repvgg_rsbb_a0": 26_066_752,
    "repvgg_a1": 18_061_568,
    "repvgg_a2": 31_299_008,
    "repvgg_rsbb_a2": 74_111_424,
    "repvgg_b0": 19_610_752,
    "repvgg_rsbb_b0": 42_811_520,
    "repvgg_b1": 60_265_344,
    "repvgg_b1g2": 49_795_968,
    "repvgg_b1g4": 44_561_280,
    "repvgg_b2": 90_860_416,
    "repvgg_b2g2": 74_502_016,
    "repvgg_b2g4": 66_322_816,
    "repvgg_b3": 121_506_176,
    "repvgg_b3g2": 97_950_080,
    "repvgg_b3g4": 86_172_032,
    "repvgg_d2se": 126_638_064,
    "speaker_net_repvgg_b1": 25_053_248,
}
