import pytest

from services.api.lanes import FRESH_SECONDS, Lanes, LanesNews


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    lanes = Lanes(clock)
    lanes.heard(LanesNews(10, {"resize": 2}))
    return lanes


def test_a_lane_nobody_spoke_of_is_closed(lanes: Lanes) -> None:
    assert not lanes.reserve().has_room("other")
    assert not Lanes().reserve().has_room("resize")


def test_releases_in_flight_and_stored_ones_take_room(lanes: Lanes) -> None:
    first, second = lanes.reserve(), lanes.reserve()
    assert first.has_room("resize")
    assert second.has_room("resize")
    assert not lanes.reserve().has_room("resize")
    first.stored(11)
    assert lanes.room("resize") == 0


def test_one_decision_takes_as_many_places_as_it_asks_for(lanes: Lanes) -> None:
    lane = lanes.reserve()
    assert [lane.has_room("resize") for _ in range(3)] == [True, True, False]


def test_a_decision_that_was_not_stored_gives_its_room_back(lanes: Lanes) -> None:
    lane = lanes.reserve()
    lane.has_room("resize")
    lane.dropped()
    assert lanes.room("resize") == 2


def test_news_that_have_seen_a_release_no_longer_subtract_it(lanes: Lanes) -> None:
    for sequence in (11, 12):
        lane = lanes.reserve()
        lane.has_room("resize")
        lane.stored(sequence)
    lanes.heard(LanesNews(11, {"resize": 2}))
    assert lanes.room("resize") == 1
    lanes.heard(LanesNews(12, {"resize": 2}))
    assert lanes.room("resize") == 2


def test_a_release_seen_before_its_answer_came_is_not_subtracted(lanes: Lanes) -> None:
    lane = lanes.reserve()
    lane.has_room("resize")
    lanes.heard(LanesNews(15, {"resize": 2}))
    lane.stored(11)
    assert lanes.room("resize") == 2


def test_old_news_close_every_lane(lanes: Lanes, clock: Clock) -> None:
    clock.now += FRESH_SECONDS
    assert lanes.room("resize") == 2
    clock.now += 0.001
    assert lanes.room("resize") == 0


def test_news_older_than_the_last_are_not_taken(lanes: Lanes) -> None:
    lanes.heard(LanesNews(9, {"resize": 100}))
    assert lanes.room("resize") == 2
