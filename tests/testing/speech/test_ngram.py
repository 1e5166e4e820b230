"""The language model, read back as a decoder reads it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.testing.simulator.speech.ngram import SHARES, Gram, arpa

SENTENCES = [
    (["a", "table", "for", "two", "please"], 1),
    (["a", "table", "for", "four", "people"], 3),
    (["are", "you", "open", "on", "sunday"], 2),
    (["yes"], 40),
]


class Read:
    """An ARPA file, with back-off."""

    def __init__(self, text: str) -> None:
        self.chances: dict[Gram, float] = {}
        self.rests: dict[Gram, float] = {}
        self.counts: dict[int, int] = {}
        length = 0
        assert text.startswith("\\data\\\n")
        assert text.endswith("\\end\\")
        for line in text.splitlines():
            if line.startswith("ngram "):
                order, count = line.removeprefix("ngram ").split("=")
                self.counts[int(order)] = int(count)
            elif line.endswith("-grams:"):
                length = int(line[1])
            elif "\t" in line:
                chance, words, *rest = line.split("\t")
                gram = tuple(words.split())
                assert len(gram) == length
                assert gram not in self.chances
                self.chances[gram] = float(chance)
                if rest:
                    self.rests[gram] = float(rest[0])

    @property
    def words(self) -> list[str]:
        return [gram[0] for gram in self.chances if len(gram) == 1 and gram != ("<s>",)]

    def chance(self, word: str, *before: str) -> float:
        """Of a word after others."""
        gram = (*before, word)
        if gram in self.chances:
            return float(10 ** self.chances[gram])
        return float(10 ** self.rests.get(before, 0.0)) * self.chance(word, *before[1:])

    def of(self, sentence: str) -> float:
        words = ["<s>", *sentence.split(), "</s>"]
        found = 1.0
        for index in range(1, len(words)):
            found *= self.chance(words[index], *words[max(index - 2, 0) : index])
        return found


def test_the_header_counts_what_follows() -> None:
    read = Read(arpa(SENTENCES))
    assert read.counts == {
        order: sum(len(gram) == order for gram in read.chances) for order in (1, 2, 3)
    }
    assert read.chances["<s>",] == -99


@pytest.mark.parametrize(
    "before",
    [(), ("<s>",), ("a",), ("yes",), ("<s>", "a"), ("a", "table"), ("table", "for"), ("you", "a")],
)
def test_after_anything_the_chances_of_all_words_sum_to_one(before: Gram) -> None:
    read = Read(arpa(SENTENCES))
    assert sum(read.chance(word, *before) for word in read.words) == pytest.approx(1, abs=1e-3)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), st.integers(1, 40)),
        min_size=1,
        max_size=6,
    )
)
def test_so_they_do_for_any_sentences(sentences: list[tuple[list[str], int]]) -> None:
    read = Read(arpa(sentences))
    for before in [(), *(gram for gram in read.rests)]:
        assert sum(read.chance(word, *before) for word in read.words) == pytest.approx(1, abs=2e-3)


def test_it_is_the_mixture_that_it_says_it_is() -> None:
    read = Read(arpa(SENTENCES))
    # "for" is followed by "two" once and by "four" three times, each after "table".
    words = {"please": 1, "people": 3, "a": 4, "table": 4, "for": 4, "two": 1, "four": 3}
    words |= {"are": 2, "you": 2, "open": 2, "on": 2, "sunday": 2, "yes": 40, "</s>": 46}
    one, two, three = SHARES
    single = one * words["four"] / sum(words.values()) + (1 - one) / len(words)
    pair = two * 3 / 4 + (1 - two) * single
    triple = three * 3 / 4 + (1 - three) * pair
    assert read.chance("four", "table", "for") == pytest.approx(triple, rel=1e-3)
    assert read.chance("four", "on", "for") == pytest.approx(pair, rel=1e-3)
    assert math.log10(read.chance("four")) == pytest.approx(math.log10(single), rel=1e-3)


def test_what_was_given_is_likely_and_any_order_is_possible() -> None:
    read = Read(arpa(SENTENCES))
    given_, mixed, turned = map(
        read.of, ("a table for two please", "a table for two people", "please two for table a")
    )
    assert given_ > mixed > turned > 0
    assert read.of("yes") > 0.5
