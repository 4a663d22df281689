"""The scene keeps the loudest of each tenth of a second, and a bounded past."""

from relay.demo.scene import HISTORY, SILENT_DBFS, DemoScene, SceneMoment


def test_a_moment_is_as_loud_as_its_loudest_20_ms() -> None:
    scene = DemoScene(buffer_ms=40.0)
    for caller_dbfs, heard_dbfs in ((-60.0, -20.0), (-30.0, -50.0), (-80.0, -90.0)):
        scene.sound(caller_dbfs, heard_dbfs)

    assert (scene.now.caller_dbfs, scene.now.heard_dbfs) == (-30.0, -20.0)


def test_the_buffer_of_a_moment_is_the_last_that_was_known() -> None:
    scene = DemoScene(buffer_ms=40.0)
    scene.sound(SILENT_DBFS, SILENT_DBFS)
    scene.buffer_ms = 20.0
    scene.sound(SILENT_DBFS, SILENT_DBFS)

    assert scene.now.buffer_ms == 20.0


def test_a_new_moment_is_silent_and_the_one_before_it_stays() -> None:
    scene = DemoScene()
    scene.sound(-20.0, -20.0)
    scene.moments.append(SceneMoment())

    assert scene.now.caller_dbfs == SILENT_DBFS
    assert scene.moments[-2].caller_dbfs == -20.0


def test_the_past_is_bounded() -> None:
    scene = DemoScene()
    for _ in range(10 * HISTORY):
        scene.moments.append(SceneMoment())

    assert len(scene.moments) == HISTORY
