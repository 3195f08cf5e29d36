"""The thin client: asks a fovea server what a picture is about, and where.

>>> from fovea_client import Client
>>> with Client("localhost:8001") as client:
...     thing = client.main_object("photo.jpg", ["man", "snowboard"])
>>> thing.label, thing.box, thing.mask.to_numpy()
"""

from fovea_client.async_client import AsyncClient
from fovea_client.batches import Outcome, pictures_in
from fovea_client.channel import Tls
from fovea_client.classification import Classification
from fovea_client.client import Client
from fovea_client.description import Description, MemberDescription
from fovea_client.errors import (
    DeadlineExceeded,
    FoveaError,
    ImageTooLarge,
    InvalidAudio,
    InvalidImage,
    InvalidInput,
    InvalidPrompt,
    InvalidSetting,
    InvalidTensor,
    InvalidText,
    InvalidThreshold,
    Overloaded,
    ServerError,
    Unavailable,
    UnknownVerb,
)
from fovea_client.local_client import LocalClient
from fovea_client.masks import Mask
from fovea_client.objects import Objects
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.retry import RetryPolicy
from fovea_client.scenes import SceneSegmentation

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "DeadlineExceeded",
    "Description",
    "Detections",
    "FoveaError",
    "ImageTooLarge",
    "InvalidAudio",
    "InvalidImage",
    "InvalidInput",
    "InvalidPrompt",
    "InvalidSetting",
    "InvalidTensor",
    "InvalidText",
    "InvalidThreshold",
    "LocalClient",
    "MainObject",
    "Mask",
    "MemberDescription",
    "Objects",
    "Outcome",
    "Overloaded",
    "RetryPolicy",
    "SceneSegmentation",
    "Segmentation",
    "SegmentedDetections",
    "ServerError",
    "Tls",
    "Unavailable",
    "UnknownVerb",
    "pictures_in",
]
