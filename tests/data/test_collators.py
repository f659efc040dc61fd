from __future__ import annotations

import torch

from belle.data.chat_template import Encoded
from belle.data.collators import pad_right


def test_literal_tensors() -> None:
    batch = pad_right([Encoded([1, 2, 3, 4], [False, False, True, True]), Encoded([5, 6], [False, True])], pad=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]
    # position t is asked for the id at t + 1; 3 and 4 are supervised in the first row, 6 in the second
    assert batch["supervised"].tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch["targets"][batch["supervised"]].tolist() == [3, 4, 6]
    assert batch["input_ids"].dtype == torch.int64


def test_a_supervised_first_token_is_not_asked_for() -> None:
    batch = pad_right([Encoded([7, 8], [True, True])], pad=0)
    assert batch["targets"][batch["supervised"]].tolist() == [8]


def test_padding_is_never_supervised_even_where_pad_is_a_real_token() -> None:
    batch = pad_right([Encoded([1, 9], [False, True]), Encoded([1, 2, 9, 9], [False, False, True, True])], pad=9)
    assert int(batch["supervised"].sum()) == 3
