"""The cases that an export must survive, each with the tests that try it: histories (H43 to H59) and output
(S66 to S80). What no other module tries is tried here."""

from __future__ import annotations

import ast
import json
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dagster import DagsterExecutionInterruptedError

from wandb_ops.errors import UsageError
from wandb_ops.export import engine, export_project
from wandb_ops.export.files import sink as filesink
from wandb_ops.history.table import rows_of_batch

TESTED_BY = {
    "H43 sampled rows are never exported": [
        "test_an_export_asks_for_nothing_sampled",
        "test_only_exact_operations_are_sent",
    ],
    "H44 keys of different steps": ["test_every_run_is_a_file_that_holds_what_was_logged"],
    "H45 steps that start late or lie far apart": [
        "test_requests_are_few",
        "test_every_row_comes_once_and_in_order_whatever_the_steps",
    ],
    "H46 parts and live rows that overlap or leave a gap": [
        "test_whatever_the_server_says_of_the_boundary_no_row_is_lost_or_doubled"
    ],
    "H47 an address that expired": [
        "test_an_expired_url_is_asked_for_again_and_parts_at_hand_are_kept",
        "test_a_network_that_misbehaves_for_a_while_changes_nothing",
    ],
    "H48 a run that goes on": ["test_a_running_run_is_exported_and_marked_and_the_next_run_extends_it"],
    "H49 a run resumed, or edited after its end": [
        "test_only_what_changed_is_fetched",
        "test_an_edit_after_the_end_shows_and_fetches_no_history",
    ],
    "H50 a run rewound": [
        "test_a_run_that_was_rewound_is_written_anew",
        "test_a_rewound_run_is_replaced_in_one_commit_and_the_old_version_can_be_read",
    ],
    "H51 a run deleted upstream": [
        "test_runs_that_were_deleted_upstream_are_kept_and_flagged",
        "test_deleted_runs_are_kept_and_flagged",
    ],
    "H52 a run renamed, two of one name": ["test_an_edit_after_the_end_shows_and_fetches_no_history"],
    "H53 steps twice, out of order, missing": [
        "test_odd_steps_are_all_read",
        "test_what_is_not_certain_is_read_alone",
    ],
    "H54 no rows, only media, only NaN": [
        "test_a_run_without_rows_is_a_valid_file_in_each_format",
        "test_only_media_and_only_nan_are_valid_files",
    ],
    "H55 odd numbers": [
        "test_parquet_equals_what_was_logged",
        "test_csv_holds_what_was_logged",
        "test_json_lines_equal_what_was_logged",
    ],
    "H56 types that change": [
        "test_types_widen_by_the_contract_and_keep_every_value",
        "test_runs_of_other_days_with_other_types_keep_every_value",
    ],
    "H57 very many and odd keys": [
        "test_twenty_thousand_keys_that_appear_once_each_are_kept",
        "test_keys_that_delta_cannot_tell_apart_get_columns_of_their_own",
    ],
    "H58 odd text": [
        "test_a_lone_surrogate_is_escaped_and_the_file_stays_utf8",
        "test_values_survive_the_way_through_a_server",
    ],
    "H59 a row that cannot be read": [
        "test_a_row_that_cannot_be_read_names_run_and_place",
        "test_rows_of_many_megabytes_are_written_whole",
    ],
    "S66 killed at any point": [
        "test_killed_at_every_change_of_its_files_the_next_export_ends_as_if_nothing_had_been",
        "test_killed_at_every_change_of_histories_in_a_lake_rows_agree_with_watermarks",
        "test_killed_at_every_change_of_the_other_tables_of_a_lake_the_next_export_ends_alike",
        "test_killed_at_every_change_of_a_snapshot_the_same_moment_again_is_whole",
        "test_killed_at_every_change_of_a_bucket_the_next_export_ends_as_if_nothing_had_been",
    ],
    "S67 interrupted": ["test_an_interrupt_waits_for_nobody_and_the_next_export_ends_alike"],
    "S68 a disk that is full or refuses": [
        "test_a_disk_that_fills_at_any_change_of_a_file_leaves_old_files_and_no_others",
        "test_a_disk_that_fills_at_any_change_of_a_table_leaves_whole_commits",
        "test_a_failing_system_call_leaves_the_old_file_and_no_litter",
    ],
    "S69 power cut": ["test_data_are_durable_before_the_rename_and_the_rename_before_the_return"],
    "S70 a mark that is damaged, foreign or of another version": [
        "test_a_mark_that_is_not_believed_is_made_anew",
        "test_a_damaged_or_foreign_file_is_replaced",
    ],
    "S71 a mark without its data": ["test_a_mark_that_is_not_believed_is_made_anew"],
    "S72 two exports at once": [
        "test_two_processes_with_overlapping_runs_leave_no_duplicate_and_lose_nothing",
        "test_two_processes_in_one_bucket_leave_each_row_once",
        "test_several_writers_at_once_leave_one_whole_file",
    ],
    "S73 one run fails": [
        "test_a_failing_run_is_named_and_keeps_nobody_back",
        "test_a_failing_run_keeps_nobody_back",
    ],
    "S74 a failing export over a good file": [
        "test_incomplete_history_leaves_the_old_file",
        "test_a_network_that_stays_down_leaves_the_earlier_export",
    ],
    "S75 a reader during the swap": ["test_a_reader_goes_on_with_the_file_that_it_opened"],
    "S76 names that differ in case only": ["test_plain_names_stay_and_all_others_get_a_digest"],
    "S77 foreign files": ["test_files_of_others_in_the_folder_are_left_alone"],
    "S78 symbolic links": [
        "test_a_link_in_the_folder_is_refused_and_its_target_untouched",
        "test_a_symbolic_link_is_refused_and_what_it_points_to_untouched",
    ],
    "S79 permissions": ["test_permissions_follow_the_umask_and_an_existing_file_keeps_its_own"],
    "S80 one flipped bit": [
        "test_any_flipped_bit_is_found",
        "test_a_changed_byte_of_a_text_file_is_found",
        "test_a_changed_byte_is_found_by_verify",
    ],
}


def test_every_case_has_tests():
    folders = [Path(__file__).parent, Path(__file__).parent.parent / "history"]
    files = [path for folder in folders for path in folder.glob("test_*.py")]
    known = {
        node.name
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    wanted = [*(f"H{n}" for n in range(43, 60)), *(f"S{n}" for n in range(66, 81))]
    assert [case.split()[0] for case in TESTED_BY] == wanted
    assert {case: tests for case, tests in TESTED_BY.items() if not tests or set(tests) - known} == {}


def export(project, to, **more):
    return export_project(project.watched, project=project.name, to=to, **more)


def rows_in(path):
    return [row for batch in pq.read_table(path).to_batches() for row in rows_of_batch(batch)]


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_an_export_asks_for_nothing_sampled(project, tmp_path, kind):
    for number, rows in enumerate((3, 4, 2500)):
        steps = [{"_step": step, "x": step} for step in range(rows)]
        project.log(f"r{number}", steps, events=[{"_timestamp": 1.0, "cpu": 2}])
    project.asked  # noqa: B018 - forgets what was asked so far
    assert export(project, tmp_path, format=kind, include=("runs", "history", "system", "files")).ok
    exact = {
        "ExportRuns",
        "ExportHistories",
        "HistoryPage",
        "RunParquetHistory",
        "RunFullHistory",
        "RunsHistories",
    }
    assert set(project.asked) <= exact | {"RunFiles", "RunHistoryCounts"}


def test_an_edit_after_the_end_shows_and_fetches_no_history(project, tmp_path):
    for name in ("one", "other"):
        project.log(name, [{"_step": 0, "x": name}], display_name="the same name")
    export(project, tmp_path)
    run = project.api.run(f"{project.name}/one")
    run.name, run.tags, run.notes = "another name", ["late"], "seen"
    run.update()
    project.asked  # noqa: B018
    done = export(project, tmp_path)
    assert done.ok
    rows = {row["run_id"]: row for row in pq.read_table(tmp_path / "runs.parquet").to_pylist()}
    assert [(name, row["display_name"], row["tags"]) for name, row in rows.items()] == [
        ("one", "another name", ["late"]),
        ("other", "the same name", []),
    ]
    assert rows_in(tmp_path / "history" / "one.parquet") == [{"_step": 0, "x": "one"}]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "delta"])
def test_only_media_and_only_nan_are_valid_files(project, tmp_path, kind):
    media = [{"_step": i, "picture": {"_type": "image-file", "path": f"m/{i}.png"}} for i in range(3)]
    project.log("media", media)
    project.log("nan", [{"_step": i, "x": float("nan")} for i in range(3)])
    project.log("nothing", [])
    done = export(project, tmp_path, format=kind)
    assert (done.ok, done.rows, done.written) == (True, 6, 3)
    if kind == "parquet":
        assert rows_in(tmp_path / "history" / "media.parquet") == media
        assert pq.read_table(tmp_path / "history" / "nothing.parquet").schema.names == ["_step"]


def test_an_interrupt_waits_for_nobody_and_the_next_export_ends_alike(project, tmp_path, monkeypatch):
    """A person's Ctrl-C, and what Airflow and Dagster raise when a task is to end."""
    for name in ("fast", "slow"):
        project.log(name, [{"_step": i} for i in range(600)])
    released, real = threading.Event(), filesink.FileDestination.fetch

    def fetch(self, listed, *rest):
        if listed.ref.run_id == "slow":
            released.wait(20)
        return real(self, listed, *rest)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(filesink.FileDestination, "fetch", fetch)
    monkeypatch.setattr(engine._Tally, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(project, tmp_path / "to")
    assert not released.is_set()
    released.set()
    monkeypatch.undo()
    assert export(project, tmp_path / "to").ok
    assert [row["_step"] for row in rows_in(tmp_path / "to" / "history" / "slow.parquet")] == list(range(600))


def test_after_an_interrupt_no_worker_asks_for_more_or_writes_a_file(project, tmp_path, monkeypatch):
    """Python waits for its threads at its end: one in the middle of a long run must not go on with it."""
    for name in ("fast", "slow"):
        project.log(name, [{"_step": i} for i in range(600)])
    released, real = threading.Event(), filesink.FileDestination.fetch

    def fetch(self, listed, *rest):
        if listed.ref.run_id == "slow":
            assert released.wait(20)
        return real(self, listed, *rest)

    def interrupted(*_):
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(filesink.FileDestination, "fetch", fetch)
    monkeypatch.setattr(engine._Tally, "add", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(DagsterExecutionInterruptedError):
        export(project, tmp_path / "to")
    released.set()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("wandb-export"):
            thread.join(20)
            assert not thread.is_alive()
    assert [path.name for path in (tmp_path / "to" / "history").iterdir()] == ["fast.parquet"]


@pytest.mark.parametrize("harm", ["empty", "cut", "not JSON", "later format", "no data", "no mark"])
def test_a_mark_that_is_not_believed_is_made_anew(project, tmp_path, harm):
    project.log("a", [{"_step": i, "x": i} for i in range(3)])
    export(project, tmp_path, format="csv")
    data = tmp_path / "history" / "a.csv"
    mark = tmp_path / "history" / "a.csv.wandb-ops.json"
    whole, words = data.read_bytes(), mark.read_bytes()
    if harm == "no data":
        data.unlink()
    elif harm == "no mark":
        mark.unlink()
    else:
        later = json.dumps(json.loads(words) | {"format": 99}).encode()
        mark.write_bytes({"empty": b"", "cut": words[:50], "not JSON": b"{", "later format": later}[harm])
    done = export(project, tmp_path, format="csv")
    assert (done.ok, done.rows) == (True, 3 if harm == "no data" else 0)
    assert (data.read_bytes(), mark.read_bytes()) == (whole, words)
    with pytest.raises(UsageError, match="own"):
        export_project(project.watched, project="other", to=tmp_path, format="csv")


def test_a_reader_goes_on_with_the_file_that_it_opened(project, tmp_path):
    project.log("a", [{"_step": i} for i in range(3)])
    export(project, tmp_path)
    with (tmp_path / "history" / "a.parquet").open("rb") as reader:
        project.log("a", [{"_step": 3}], at_line=3)
        assert export(project, tmp_path).written == 1
        assert pq.read_table(reader).num_rows == 3
    assert pq.read_table(tmp_path / "history" / "a.parquet").num_rows == 4


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_files_of_others_in_the_folder_are_left_alone(project, tmp_path, kind):
    project.log("a", [{"_step": 0}])
    others = ["notes.txt", "history/mine.parquet", "history/.hidden", "files/a/mine.bin", "artifact_files/x"]
    for name in others:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for force in (False, True):
        include = ("runs", "history", "files", "artifacts")
        assert export(project, tmp_path, format=kind, include=include, force=force).ok
    assert [(tmp_path / name).read_text() for name in others] == others


def test_a_link_in_the_folder_is_refused_and_its_target_untouched(project, tmp_path):
    project.log("a", [{"_step": 0}])
    project.log("b", [{"_step": 0}])
    outside = tmp_path / "outside.parquet"
    outside.write_text("precious")
    (tmp_path / "to" / "history").mkdir(parents=True)
    (tmp_path / "to" / "history" / "a.parquet").symlink_to(outside)
    done = export(project, tmp_path / "to")
    assert [(one.run_id, one.error) for one in done.not_taken] == [("a", "UnsafePath")]
    assert outside.read_text() == "precious"
    assert (tmp_path / "to" / "history" / "b.parquet").exists()
