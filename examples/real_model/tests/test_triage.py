"""How urgent is an incident? The house has rules of its own, and the prompt does not say them yet.

What the cases hold: money or data that may be lost is `now`, however calm the report sounds; what stops
customers but loses nothing is `today`; whatever has a workaround, or concerns looks and wishes, is `later`,
however loud.
"""

from __future__ import annotations

import pytest

TRAIN = [
    ("A handful of standing orders ran twice last night. No complaints so far.", "now"),
    ("Two customers say they can see each other's statements.", "now"),
    ("The nightly backup has been skipped since Sunday, everything else works.", "now"),
    ("Interest was posted with the wrong sign for one test group of real accounts.", "now"),
    ("URGENT!!! Nobody in the branch can print account statements!", "today"),
    ("Log-in by fingerprint fails for everyone; the PIN works but many do not remember it.", "today"),
    ("New customers cannot finish the identity check, the video call never connects.", "today"),
    ("The cash machine in Hall 2 rejects all cards, the nearest other one is 3 km away.", "today"),
    ("The app logo is the old one on tablets, this is a CATASTROPHE for our brand!", "later"),
    ("Search in the statement archive is down; scrolling to the month still works.", "later"),
    ("Push messages arrive an hour late. The mailbox in the app is on time.", "later"),
    ("Please make the transfer button blue before Monday's board meeting, top priority.", "later"),
]
VALIDATION = [
    ("A transfer of 40 euros left one account and reached none.", "now"),
    ("The card reader app hangs for all shops that updated today; they cannot take cards.", "today"),
    ("The exchange rate widget is blank, rates are still listed under Markets.", "later"),
    ("The board is furious: a typo on the start page!", "later"),
]
HELDOUT = [
    ("Someone found a list of customer addresses in a public folder; probably nobody saw it.", "now"),
    ("One direct debit was collected although it had been cancelled. Just saying.", "now"),
    ("The audit log of yesterday evening is empty.", "now"),
    ("A batch of 12 card payments was booked to the wrong merchant.", "now"),
    ("Loan applications cannot be submitted since noon.", "today"),
    ("Phone banking hangs up on every caller.", "today"),
    ("No customer abroad receives the text message code needed to log in.", "today"),
    ("Appointments cannot be booked at any branch.", "today"),
    ("CRITICAL: dark mode shows grey on grey in the settings!", "later"),
    ("The PDF export has a blank last page.", "later"),
    ("Sorting by amount is broken, filtering by amount works.", "later"),
    ("Our biggest client insists that the newsletter greets him by title.", "later"),
]


@pytest.mark.prompt("../prompts/triage.md")
class TestTriage:
    @pytest.mark.parametrize(("report", "urgency"), TRAIN)
    def test_known_reports(self, prompt, report, urgency):
        assert prompt(report=report) == urgency

    @pytest.mark.validation
    @pytest.mark.parametrize(("report", "urgency"), VALIDATION)
    def test_further_reports(self, prompt, report, urgency):
        assert prompt(report=report) == urgency

    @pytest.mark.heldout
    @pytest.mark.parametrize(("report", "urgency"), HELDOUT)
    def test_unseen_reports(self, prompt, report, urgency):
        assert prompt(report=report) == urgency
