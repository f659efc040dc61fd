from __future__ import annotations

import datetime
from itertools import pairwise

import pytest
from filter_records import reason, talk, texts
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.personal_data import KINDS, MaskPersonalData, PersonalData, find, identity_number, luhn
from belle.errors import BelleError
from belle.records import Document


def check_character(body: str) -> str:
    """ISO 7064 MOD 11-2 as the standard's recursive form has it, not by weights."""
    rest = 0
    for digit in body:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11]


def luhn_by_parts(body: str) -> str:
    """Luhn's check digit, the slow way: every second digit from the right doubled, the digits of the products added."""
    doubled = "".join(str(int(digit) * (2 if n % 2 == 0 else 1)) for n, digit in enumerate(reversed(body)))
    return str(-sum(map(int, doubled)) % 10)


@given(
    st.dates(datetime.date(1900, 1, 1), datetime.date(2029, 12, 31)),
    st.integers(0, 999),
    st.sampled_from(["11", "31", "44", "65"]),
)
def test_an_identity_number_has_one_right_check_character(day: datetime.date, order: int, province: str) -> None:
    body = f"{province}0105{day:%Y%m%d}{order:03d}"
    right = body + check_character(body)
    assert [body + char for char in "0123456789X" if identity_number(body + char)] == [right]
    assert [each.kind for each in find(f"号码：{right}。")] == ["identity"]
    assert identity_number(right.lower())


def test_an_identity_number_needs_a_day_and_a_province() -> None:
    for body in ("11010519490231002", "99010519491231002", "11010519491331002"):
        assert not identity_number(body + check_character(body))
    assert identity_number("11010519491231002X")  # the example of GB 11643
    assert not identity_number("11010519491231002")


@given(st.from_regex(r"\A62[0-9]{13,16}\Z"))
def test_a_card_has_one_right_check_digit(body: str) -> None:
    right = body + luhn_by_parts(body)
    assert [body + digit for digit in "0123456789" if luhn(body + digit)] == [right]


def test_luhn_knows_the_textbook_number() -> None:
    assert luhn("79927398713")
    assert not luhn("79927398710")
    assert not luhn("１２")


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("我的手机号是 139 0000 5518。", ["mobile"]),
        ("赵姐１３７００００８８４６", ["mobile"]),
        ("+86 135-0000-9724", ["mobile"]),
        ("电话13500004417，邮箱wang.lan_0417@163.com", ["mobile", "email"]),
        ("text me at (415) 555-0132", ["phone"]),
        ("卡号 4532 0170 0045 8219", ["bank_card"]),
        ("住在上海市徐汇区桂香路218弄6号402室", ["address"]),
        ("Mr Hugh Alder\n27 Tannery Close\nLeeds LS6 2QP", ["address"]),
        ("客服热线 10086，报警 110", []),
        ("订单号 4007192283316540", []),
        ("12345678900 + 1234567890 = 13580246790", []),
        ("圆周率 3.13800138765", []),
        ("单号SF1390000551827", []),
        ("support@example.com 与 info@belle.cn", []),
        ("400-800-1234", []),
        ("4111 1111 1111 1111 是测试卡号", []),
        ("白宫位于宾夕法尼亚大道1600号", []),
        ("At 221B Baker Street in London", []),
        ("20240115083000", []),
        ("2.13.7800.1380", []),
        ("@property", []),
    ],
)
def test_personal_data_is_found(text: str, kinds: list[str]) -> None:
    assert [each.kind for each in find(text)] == kinds


def test_the_reason_does_not_repeat_the_data() -> None:
    found = PersonalData()(talk("怎么联系？", "打13500004417。"))
    assert found is not None
    assert (found.reason, found.detail) == ("mobile", "turn 2, characters 1 to 12")
    assert reason(PersonalData()(Document("写信到 lan0417@163.com"))) == "email"


def test_kinds_are_chosen_and_checked() -> None:
    assert PersonalData(kinds=("email",))(talk("电话？", "13500004417")) is None
    with pytest.raises(BelleError, match="passport"):
        PersonalData(kinds=("passport",))  # type: ignore[arg-type]
    with pytest.raises(BelleError):
        MaskPersonalData(kinds=())


def test_data_is_masked_in_place() -> None:
    record = talk("我姓郭，18700002093。", "已记下18700002093，郭先生。")
    assert texts(MaskPersonalData()(record)) == ["我姓郭，[手机号]。", "已记下[手机号]，郭先生。"]
    assert texts(MaskPersonalData(masks={"mobile": "<tel>"})(record)) == ["我姓郭，<tel>。", "已记下<tel>，郭先生。"]
    clean = talk("你好", "你好！")
    assert MaskPersonalData()(clean) is clean


@given(st.text("1389 -@a.号室路", max_size=40))
def test_found_places_lie_in_the_text_without_overlaps(text: str) -> None:
    places = [(each.start, each.end) for each in find(text)]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    assert {each.kind for each in find(text)} <= set(KINDS)
