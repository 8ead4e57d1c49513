"""The papers of the families of networks."""

# Family -> paper, address.
FAMILIES: dict[str, tuple[str, str]] = {
    "x-vector": ("Snyder et al., ICASSP 2018", "https://doi.org/10.1109/ICASSP.2018.8461375"),
    "ECAPA-TDNN": ("Desplanques et al., Interspeech 2020", "https://arxiv.org/abs/2005.07143"),
    "xi-vector": ("Lee et al., IEEE SPL 2021", "https://arxiv.org/abs/2108.05679"),
    "ResNet": ("Zeinali et al. 2019", "https://arxiv.org/abs/1910.12592"),
    "Res2Net": ("Gao et al., TPAMI 2021", "https://arxiv.org/abs/1904.01169"),
    "ERes2Net": ("Chen et al., Interspeech 2023", "https://arxiv.org/abs/2305.12838"),
    "ERes2NetV2": ("Chen et al., Interspeech 2024", "https://arxiv.org/abs/2406.02167"),
    "CAM++": ("Wang et al., Interspeech 2023", "https://arxiv.org/abs/2303.00332"),
    "RepVGG": ("Ding et al., CVPR 2021", "https://arxiv.org/abs/2101.03697"),
    "DF-ResNet": ("Liu et al., TASLP 2024 (Gemini)", "https://arxiv.org/abs/2312.03620"),
    "SimAM-ResNet": ("Qin et al., ICASSP 2022", "https://arxiv.org/abs/2110.06534"),
    "ReDimNet": ("Yakovlev et al., Interspeech 2024", "https://arxiv.org/abs/2407.18223"),
    "ReDimNet2": ("Yakovlev et al., Interspeech 2026", "https://arxiv.org/abs/2603.11841"),
    "WavLM": ("Chen et al., IEEE JSTSP 2022", "https://arxiv.org/abs/2110.13900"),
    "w2v-BERT 2.0": ("Barrault et al. 2023 (Seamless)", "https://arxiv.org/abs/2312.05187"),
}
