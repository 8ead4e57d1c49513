"""The corpora that `svtool prepare` knows; a new one is a file and a line here."""

from sv_cli.corpora import csv_table, demo, folder
from sv_cli.corpora.corpus import Corpus

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus for corpus in (folder.CORPUS, csv_table.CORPUS, demo.CORPUS)
}
