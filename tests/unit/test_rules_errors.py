import pickle

import pytest

from rules.errors import PROBLEMS, Invalid, Problem, SlowDown, SoldOut


def test_every_problem_has_a_code_and_a_message_of_its_own() -> None:
    assert len(PROBLEMS) == sum(kind.__module__ == "rules.errors" for kind in Problem.__subclasses__())
    assert len({problem.__doc__ for problem in PROBLEMS.values()}) == len(PROBLEMS)
    for code, problem in PROBLEMS.items():
        assert problem.code == code
        assert str(problem()) == problem().detail == problem.__doc__
        assert code == code.lower().replace(" ", "_")


def test_a_problem_carries_its_fields_and_extra_members() -> None:
    problem = Invalid("no", errors=[{"path": "lines.0.number", "message": "three digits"}], lines=[1])
    assert (problem.detail, problem.extra) == ("no", {"lines": [1]})
    assert problem.errors == [{"path": "lines.0.number", "message": "three digits"}]
    assert SlowDown(retry_after=2).extra == {"retry_after": 2}


def test_a_problem_survives_the_way_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(SoldOut("full", lines=["046"])))
    assert (type(again), again.detail, again.extra) == (SoldOut, "full", {"lines": ["046"]})


def test_a_problem_can_be_raised_by_its_code() -> None:
    with pytest.raises(SoldOut):
        raise PROBLEMS["sold_out"]
