from __future__ import annotations

from gcsmux_fs.emulator.buckets.generations import GenerationLedger, Identity

FIRST = Identity(inode=1, size=10, mtime_ns=5_000_000, ctime_ns=7_000_900)


def changed(**fields: int) -> Identity:
    fields_of_first = {"inode": 1, "size": 10, "mtime_ns": 5_000_000, "ctime_ns": 7_000_900}
    return Identity(**{**fields_of_first, **fields})


def test_a_generation_is_the_ctime_in_microseconds() -> None:
    assert GenerationLedger().of_file("a", FIRST, None) == (7_000, True)


def test_the_generation_is_the_same_after_a_restart() -> None:
    before, after = GenerationLedger(), GenerationLedger()
    assert before.of_file("a", FIRST, None) == after.of_file("a", FIRST, None)


def test_a_change_within_one_clock_tick_makes_a_new_generation() -> None:
    ledger = GenerationLedger()
    ledger.of_file("a", FIRST, None)
    for number, identity in enumerate(
        [
            changed(inode=2),
            changed(size=11),
            changed(mtime_ns=5_000_001),
            changed(ctime_ns=7_000_901),
        ]
    ):
        # False says that the emulator must record the generation, because an emulator that restarts
        # would not compute the same generation again.
        assert (7_001 + number, False) == ledger.of_file("a", identity, None)


def test_a_recorded_generation_is_kept() -> None:
    assert GenerationLedger().of_file("a", FIRST, recorded=7_005) == (7_005, True)


def test_setting_the_clock_back_does_not_decrease_generations() -> None:
    ledger = GenerationLedger()
    ledger.of_file("a", FIRST, None)
    assert ledger.of_file("a", changed(ctime_ns=1_000_000), None) == (7_001, False)


def test_generations_without_a_file_increase_too() -> None:
    ledger = GenerationLedger()
    assert ledger.fresh("a", now_ns=9_500) == 9
    assert ledger.fresh("a", now_ns=9_700) == 10
    assert ledger.of_file("a", changed(ctime_ns=9_800), None) == (11, False)


def test_names_have_independent_generations() -> None:
    ledger = GenerationLedger()
    ledger.of_file("a", changed(ctime_ns=9_000_000), None)
    assert ledger.of_file("b", FIRST, None) == (7_000, True)
