"""The corpora that `svtool prepare` knows; a new one is a file and a line here."""

from sv_cli.corpora import (
    aishell,
    cnceleb,
    common_voice,
    csv_table,
    demo,
    folder,
    librispeech,
    musan,
    rirs,
    threed_speaker,
    voxceleb1,
    voxceleb2,
    voxsrc,
)
from sv_cli.corpora.corpus import Corpus

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        folder.CORPUS,
        csv_table.CORPUS,
        voxceleb1.CORPUS,
        voxceleb2.CORPUS,
        voxsrc.CORPUS,
        cnceleb.CORPUS,
        threed_speaker.CORPUS,
        librispeech.CORPUS,
        aishell.CORPUS,
        common_voice.CORPUS,
        musan.CORPUS,
        rirs.CORPUS,
        demo.CORPUS,
    )
}
