import pytest

from benchmarks.errors import NotInstalled
from benchmarks.profiling import find, summary

STACKS = """\
main (/p/services/dispatcher/app.py:10);decide (/p/shared/domain/job.py:5) 30
main (/p/services/dispatcher/app.py:1);decide (/p/shared/domain/job.py:9);d (/v/site-packages/o/x.py:1) 10
main (/p/services/dispatcher/app.py:10) 60
"""


def test_shares_are_of_all_samples_whatever_the_line() -> None:
    found = summary("dispatcher", 120.0, STACKS.splitlines())
    assert found.samples == 100
    assert found.own == [
        ("main  /p/services/dispatcher/app.py", 0.6),
        ("decide  /p/shared/domain/job.py", 0.3),
        ("d  o/x.py", 0.1),
    ]
    assert dict(found.below)["decide  /p/shared/domain/job.py"] == 0.4
    assert dict(found.files)["o/x.py"] == 0.1


def test_a_missing_sampler_is_told_with_how_to_get_it() -> None:
    with pytest.raises(NotInstalled, match="pip install py-spy"):
        find("/nowhere/py-spy")
