"""The settings of a checkpoint's image processor: honoured, ignored as harmless, or refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from PIL import Image

from export.errors import InvalidCheckpoint, UnsupportedProcessor

# Each family's `read_spec` puts these into the spec, or refuses their values.
_HONOURED = {
    "crop_size",
    "do_center_crop",
    "do_normalize",
    "do_pad",
    "do_rescale",
    "do_resize",
    "image_mean",
    "image_std",
    "max_size",
    "pad_and_return_pixel_mask",
    "pad_size",
    "resample",
    "rescale_factor",
    "size",
}
# Settings of training, of array layout, of classes; and pictures here are RGB already.
_WITHOUT_EFFECT = {
    "_valid_processor_keys",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_convert_annotations",
    "do_convert_rgb",
    "do_reduce_labels",
    "feature_extractor_type",
    "format",
    "ignore_index",
    "image_processor_type",
    "input_data_format",
    "mask_pad_size",
    "mask_size",
    "num_labels",
    "processor_class",
    "reduce_labels",
    "return_tensors",
}
_BYTE = 1 / 255


@dataclass(frozen=True)
class Normalization:
    """Turns uint8 RGB into a checkpoint's floats: (x / 255 - mean) / std."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def check_fields(
    family: str, cls: type, settings: dict[str, Any], honoured: Collection[str] = ()
) -> None:
    """Raise UnsupportedProcessor for an unknown setting; null is unset.

    honoured: settings that only this family knows.

    Raises InvalidCheckpoint if the settings belong to another class than `cls`.
    """
    own = cls.__name__.removesuffix("Pil")
    names = {own, f"{own}Fast", own.replace("ImageProcessor", "FeatureExtractor")}
    got = settings.get("image_processor_type") or settings.get("feature_extractor_type") or own
    if got not in names:
        raise InvalidCheckpoint(f"{family}: expected the settings of a {own}, got those of a {got}")
    known = _HONOURED | _WITHOUT_EFFECT | {*honoured}
    unknown = sorted(name for name, v in settings.items() if v is not None and name not in known)
    if unknown:
        raise UnsupportedProcessor(
            f"{family}: the image processor has settings whose effect is not known here: "
            + ", ".join(f"{name}={settings[name]!r}" for name in unknown)
            + "; remove from preprocessor_config.json what has none"
        )


def require(processor: Any, **expected: Any) -> None:
    """Raise UnsupportedProcessor unless these settings have these values; None is False."""
    for name, value in expected.items():
        got = getattr(processor, name, None)
        if (bool(got) if isinstance(value, bool) else got) != value:
            raise UnsupportedProcessor(
                f"{type(processor).__name__}: expected {name}={value}, got {got}"
            )


def edges(processor: Any, name: str, *keys: str) -> tuple[int, ...]:
    """The edges of a size such as {"shortest_edge": 224}, which must have exactly these keys."""
    got = {key: edge for key, edge in dict(getattr(processor, name) or {}).items() if edge}
    if set(got) != set(keys):
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected {name} with {', '.join(keys)}, got {got}"
        )
    return tuple(int(got[key]) for key in keys)


def normalization(processor: Any) -> Normalization:
    """do_rescale, rescale_factor, do_normalize, image_mean and image_std as one formula."""
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    mean = _channels(processor, "image_mean", 0.0)
    std = _channels(processor, "image_std", 1.0)
    if factor != _BYTE:
        mean, std = (tuple(v * _BYTE / factor for v in values) for values in (mean, std))
    return Normalization(mean, std)  # type: ignore[arg-type]


def _channels(processor: Any, name: str, neutral: float) -> tuple[float, ...]:
    if not processor.do_normalize:
        return (neutral,) * 3
    value = getattr(processor, name)
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3
    if len(values) != 3 or not all(isinstance(v, (int, float)) for v in values):
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected {name} of R, G, B, got {value}"
        )
    return values


def resample(processor: Any) -> int:
    """Pillow's code of the filter."""
    codes = [int(code) for code in Image.Resampling]
    if processor.resample not in codes:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected resample to be one of Pillow's {codes}, "
            f"got {processor.resample!r}"
        )
    return int(processor.resample)
