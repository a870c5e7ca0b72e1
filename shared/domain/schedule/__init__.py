"""When something is to happen again and again, and what that makes happen.

A schedule is a value: the same one at the same moment always gives the same fire with the same job, so any
number of schedulers make one job and none of them leads.
"""

from shared.domain.schedule.recurrence import Calendar, Every, Recurrence, newest, recurrence_of, zone_of
from shared.domain.schedule.schedule import GRACE, Fire, Schedule, schedule_id
from shared.domain.schedule.timetable import Timetable, TimetablePublished, timetable_id

__all__ = [
    "GRACE",
    "Calendar",
    "Every",
    "Fire",
    "Recurrence",
    "Schedule",
    "Timetable",
    "TimetablePublished",
    "newest",
    "recurrence_of",
    "schedule_id",
    "timetable_id",
    "zone_of",
]
