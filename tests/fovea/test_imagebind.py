"""Which parts of a sound ImageBind hears, and which inputs of each modality it refuses."""

import numpy as np
import pytest

from fovea import wav
from fovea.errors import InvalidAudio, InvalidTensor
from fovea.families.clip import ClipSpec
from fovea.families.imagebind import CLIP, CLIPS, FRAMES, ImageBind
from fovea.limits import Limits
from fovea.mel import BANDS, RATE, WINDOW, log_mel
from tests.recordings import GREY, MOTION, chirp

MODALITIES = ImageBind("bind", ClipSpec(224, 1024, 77, 0, 100.0)).modalities


def hear(sound, rate=RATE):
    sent = np.array([wav.write(sound, rate)], np.object_)
    return MODALITIES["audio"].prepare(sent, Limits())


def test_a_long_sound_is_heard_at_its_beginning_middle_and_end():
    sound = chirp(9, 100, 6000)
    heard = hear(sound)
    assert heard.shape == (CLIPS, BANDS, FRAMES)
    middle = (len(sound) - CLIP) // 2
    for clip, start in zip(heard, (0, middle, len(sound) - CLIP), strict=True):
        cut = sound[start : start + CLIP]
        assert np.allclose(clip[:, :198], log_mel(cut - cut.mean()), atol=1e-5)
        assert not clip[:, 198:].any()


def test_a_short_sound_is_heard_three_times_and_padded():
    heard = hear(chirp(0.5, 100, 6000))
    assert np.array_equal(heard[0], heard[1])
    assert np.array_equal(heard[0], heard[2])
    assert heard[0, :, :48].all()
    assert not heard[0, :, 48:].any()


def test_only_the_first_of_two_channels_is_heard():
    left, right = chirp(1, 100, 200), chirp(1, 4000, 5000)
    mean = np.stack([left, right]).mean()
    assert np.allclose(hear(np.stack([left, right]))[0, :, :98], log_mel(left - mean), atol=1e-5)


def test_another_rate_is_refused_with_the_command_that_converts_it():
    with pytest.raises(
        InvalidAudio, match="16000 samples a second, got 44100: convert it with ffmpeg"
    ):
        hear(chirp(1, 100, 200), 44_100)


def test_less_than_a_frame_is_refused():
    assert hear(np.ones(WINDOW, np.float32)).shape == (CLIPS, BANDS, FRAMES)
    with pytest.raises(InvalidAudio, match="at least 400 samples"):
        hear(np.ones(WINDOW - 1, np.float32))


@pytest.mark.parametrize(("modality", "values"), [("depth", GREY[0]), ("imu", MOTION[0])])
def test_numbers_are_passed_on_unchanged_unless_they_are_not_finite(modality, values):
    prepare = MODALITIES[modality].prepare
    assert np.array_equal(prepare(values, Limits()), values)
    for wrong in (np.nan, np.inf):
        broken = values.copy()
        broken[-1, 3] = wrong
        with pytest.raises(InvalidTensor, match=f"{modality.upper()}: expected finite numbers"):
            prepare(broken, Limits())
