"""Text as the numbers that models take: word pieces of BERT, and letters."""

import itertools
import json
import re
import unicodedata

import numpy as np

SENTENCES = [
    "A man is eating food.",
    "Someone eats a meal.",
    "The orchestra tunes its instruments before the concert; three violinists are missing.",
    "Vegetables should be washed thoroughly, peeled, and cut into pieces of about two centimetres before they are cooked.",
]


class WordPieces:
    """BERT's tokenizer without case (Devlin et al. 2018, appendix A), with the vocabulary of a package."""

    def __init__(self, vocabulary: bytes):
        self.index = {word: number for number, word in enumerate(vocabulary.decode().split("\n"))}

    def word(self, word: str) -> list:
        """The longest piece that is known, then the longest of the rest, and so on."""
        pieces, start = [], 0
        while start < len(word):
            ends = range(len(word), start, -1)
            known = lambda end: self.index.get(("##" if start else "") + word[start:end])
            end = next((end for end in ends if known(end) is not None), None)
            if end is None:
                return [self.index["[UNK]"]]
            pieces.append(known(end))
            start = end
        return pieces

    def sentence(self, text: str) -> list:
        plain = unicodedata.normalize("NFD", text.lower())
        plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
        pieces = [piece for word in re.findall(r"\w+|[^\w\s]", plain) for piece in self.word(word)]
        return [self.index["[CLS]"], *pieces, self.index["[SEP]"]]

    def batch(self, sentences: list) -> dict:
        """Sentences of unlike length, with zeros where one ends."""
        all_ids = [self.sentence(sentence) for sentence in sentences]
        ids, there = padded(all_ids)
        return {"input_ids": ids, "attention_mask": there.astype(np.int64), "token_type_ids": np.zeros_like(ids)}


class Letters:
    """The vocabulary of arabic-name-romanizer: special tokens, countries, roles, letters."""

    PAD, BEGIN, END, UNKNOWN = range(4)

    def __init__(self, vocabulary: bytes):
        self.tokens = json.loads(vocabulary)["tokens"]
        self.index = {token: number for number, token in enumerate(self.tokens)}

    def name(self, name: str, country: str, role: str) -> list:
        given = [f"<{country}>", *([f"<ROLE_{role}>"] if "<ROLE_UNKNOWN>" in self.index else []), *name]
        return [self.index.get(token, self.UNKNOWN) for token in given] + [self.END]

    def batch(self, names: list) -> dict:
        """Names of unlike length; the mask is true where one has ended."""
        ids, there = padded([self.name(*name) for name in names])
        return {"src": ids, "src_mask": ~there}

    def read(self, ids) -> str:
        """The letters up to the end."""
        letters = [self.tokens[number] for number in itertools.takewhile(lambda number: number != self.END, ids)]
        return "".join(letter for letter in letters if not letter.startswith("<"))


def padded(lists: list) -> tuple:
    """[number of lists, length of the longest] in INT64, and where there is something."""
    ids = np.zeros((len(lists), max(map(len, lists))), np.int64)
    there = np.zeros(ids.shape, bool)
    for row, one in enumerate(lists):
        ids[row, : len(one)] = one
        there[row, : len(one)] = True
    return ids, there
