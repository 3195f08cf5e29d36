"""The whole model repository as data: networks, Python steps, and the ensembles that users call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fovea import clip, grounding_dino, sam
from fovea.clip import ClipSpec
from fovea.grounding_dino import GroundingDinoSpec
from fovea.limits import Limits
from fovea.placement import Placement, placed
from fovea.sam import SamSpec
from fovea.specs import ModelSpec, Queue, TensorSpec, to_json


@dataclass(frozen=True)
class BatchSizes:
    """The largest batch of each network, of the steps, and of one request to an ensemble.

    Requests of one picture are what the server batches. Only answers of a fixed shape, which
    embeddings are, can be batched by the caller as well.
    """

    clip_image_encoder: int = 16
    clip_text_encoder: int = 32
    grounding_dino: int = 8
    sam_image_encoder: int = 8
    sam_mask_decoder: int = 8
    steps: int = 16
    embeddings: int = 8
    objects: int = 1


@dataclass(frozen=True)
class Queues:
    """How long requests wait. Only the first step refuses, those behind it have room to spare.

    entry: before the first step; its timeout is also how long a request may have to wait for one
    of the models behind it, unless its caller says otherwise. backlog: so many may wait for one of
    those at most. Beyond either the first step takes no more (see `fovea.backlog`). inner: the
    queues behind the first step.

    So what was accepted is answered, and no work is wasted. There is a harder reason: Triton
    2.51 answers twice, and crashes, when a step of an ensemble fails while another one of the
    same request runs. Hence one first step that checks everything, and patient queues behind it.

    The inner queues have no limit at all, of size or time: with any, Triton 2.51 hands a batcher
    no work ahead, and a request that comes while the instance finishes another may be overlooked
    for half a second (`tests/serving/test_batching.py`). `backlog` bounds them instead.
    """

    entry: Queue = field(default_factory=lambda: Queue(max_size=128, timeout_us=30_000_000))
    backlog: int = 128
    inner: Queue = field(default_factory=Queue)


DECODE_MARGIN = 2.0
EMBEDDING_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class PipelineSpec:
    """Everything that the three checkpoints and the deployment fix.

    decode_margin: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as it stays this many times as
    large as every network needs it: a fifth of the time for large photos, and the same answers
    (`benchmarks/decoding.py`). 0 decodes all in full, and pixels are the checkpoint's own.
    embedding_cache_bytes: memory for SAM's embeddings of pictures that may be asked about again.
    """

    clip: ClipSpec
    grounding_dino: GroundingDinoSpec
    sam: SamSpec
    limits: Limits = field(default_factory=Limits)
    batch_sizes: BatchSizes = field(default_factory=BatchSizes)
    queues: Queues = field(default_factory=Queues)
    placements: tuple[Placement, ...] = ()
    decode_margin: float = DECODE_MARGIN
    embedding_cache_bytes: int = EMBEDDING_CACHE_BYTES


@dataclass(frozen=True)
class Settings:
    """What may differ from machine to machine; `python -m benchmarks.tune` writes it as JSON."""

    batch_sizes: BatchSizes = field(default_factory=BatchSizes)
    placements: tuple[Placement, ...] = ()
    decode_margin: float = DECODE_MARGIN
    embedding_cache_bytes: int = EMBEDDING_CACHE_BYTES

    def apply(self, pipeline: PipelineSpec) -> PipelineSpec:
        """The pipeline for this machine. Raises ValueError for a model that is not in it."""
        known = {spec.name for spec in networks(pipeline)}
        known |= {spec.name for spec, _ in steps(pipeline)}
        unknown = {placement.model for placement in self.placements} - known
        if unknown:
            raise ValueError(f"no model {sorted(unknown)}, the pipeline has {sorted(known)}")
        return replace(
            pipeline,
            batch_sizes=self.batch_sizes,
            placements=self.placements,
            decode_margin=self.decode_margin,
            embedding_cache_bytes=self.embedding_cache_bytes,
        )


# A parameter of Triton's python backend: what a network leaves on the GPU is copied for the step.
CPU_ONLY_INPUTS = "FORCE_CPU_ONLY_INPUT_TENSORS"

IMAGE = TensorSpec("IMAGE", "STRING", (1,))
TEXT = TensorSpec("TEXT", "STRING", (-1,))
ONE_TEXT = replace(TEXT, shape=(1,))
BOX_THRESHOLD = TensorSpec("BOX_THRESHOLD", "FP32", (1,), optional=True)
TEXT_THRESHOLD = TensorSpec("TEXT_THRESHOLD", "FP32", (1,), optional=True)
POINT_COORDS = TensorSpec("POINT_COORDS", "FP32", (-1, -1, 2))
POINT_LABELS = TensorSpec("POINT_LABELS", "INT32", (-1, -1))
CHECKED_INPUTS = (TEXT, BOX_THRESHOLD, TEXT_THRESHOLD, POINT_COORDS, POINT_LABELS)
TOKEN_SPANS = TensorSpec("token_spans", "INT32", (-1, 3))
ORIGINAL_SIZE = TensorSpec("original_size_hw", "INT32", (2,))


def networks(pipeline: PipelineSpec) -> tuple[ModelSpec, ...]:
    """The five networks."""
    sizes, queue = pipeline.batch_sizes, pipeline.queues.inner
    specs = (
        clip.image_encoder(pipeline.clip, max_batch_size=sizes.clip_image_encoder, queue=queue),
        clip.text_encoder(pipeline.clip, max_batch_size=sizes.clip_text_encoder, queue=queue),
        grounding_dino.network(
            pipeline.grounding_dino, max_batch_size=sizes.grounding_dino, queue=queue
        ),
        sam.image_encoder(pipeline.sam, max_batch_size=sizes.sam_image_encoder, queue=queue),
        sam.mask_decoder(pipeline.sam, max_batch_size=sizes.sam_mask_decoder, queue=queue),
    )
    return tuple(placed(spec, pipeline.placements) for spec in specs)


def steps(pipeline: PipelineSpec) -> tuple[tuple[ModelSpec, str], ...]:
    """The Python models, each with the name of its class in `fovea.steps`."""
    entry, inner = pipeline.queues.entry, pipeline.queues.inner
    caption = _caption_tensors(pipeline)
    prompts = (
        TensorSpec("point_coords", "FP32", (-1, -1, 2)),
        TensorSpec("point_labels", "INT32", (-1, -1)),
    )
    clip_tokens = clip.text_encoder(pipeline.clip, max_batch_size=1, queue=inner).inputs
    image_embeds = clip.image_encoder(pipeline.clip, max_batch_size=1, queue=inner).outputs
    detector = grounding_dino.network(pipeline.grounding_dino, max_batch_size=1, queue=inner)
    decoder = sam.mask_decoder(pipeline.sam, max_batch_size=1, queue=inner)
    select_boxes_inputs = (
        *detector.outputs,
        TOKEN_SPANS,
        TEXT,
        ORIGINAL_SIZE,
        BOX_THRESHOLD,
        TEXT_THRESHOLD,
    )
    select_boxes_outputs = (
        TensorSpec("boxes", "FP32", (-1, 4)),
        TensorSpec("scores", "FP32", (-1,)),
        TensorSpec("phrases", "STRING", (-1,)),
        TensorSpec("label_indices", "INT32", (-1,)),
        TensorSpec("words", "STRING", (-1,)),
        *prompts,
    )

    def step(
        name: str,
        kind: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        queue: Queue = inner,
        instances: int = 1,
        **parameters: str,
    ) -> tuple[ModelSpec, str]:
        settings = {"pipeline": to_json(pipeline), CPU_ONLY_INPUTS: "yes", **parameters}
        spec = ModelSpec(
            name=name,
            backend="python",
            inputs=inputs,
            outputs=outputs,
            max_batch_size=pipeline.batch_sizes.steps,
            queue=queue,
            instances=instances,
            parameters=tuple(settings.items()),
        )
        return placed(spec, pipeline.placements), kind

    return (
        step(
            "preprocess_image",
            "PreprocessImage",
            (IMAGE, *(replace(tensor, optional=True) for tensor in CHECKED_INPUTS)),
            (*_pixels(pipeline), *caption, *prompts),
            entry,
            instances=2,
        ),
        # A second one, or Triton overlooks a request now and then (see Queues).
        step("tokenize_text", "TokenizeText", (ONE_TEXT,), clip_tokens, entry, instances=2),
        step(
            "rank_labels",
            "RankLabels",
            (TEXT, *image_embeds),
            (
                TensorSpec("label", "STRING", (1,)),
                TensorSpec("label_index", "INT32", (1,)),
                TensorSpec("labels", "STRING", (-1,)),
                TensorSpec("label_scores", "FP32", (-1,)),
                *caption,
            ),
        ),
        step(
            "encode_image",
            "EncodeImage",
            sam.image_encoder(pipeline.sam, max_batch_size=1, queue=inner).inputs,
            (sam.embedding_tensor(pipeline.sam),),
        ),
        step("select_boxes", "SelectBoxes", select_boxes_inputs, select_boxes_outputs),
        step(
            "select_main_box",
            "SelectBoxes",
            select_boxes_inputs,
            select_boxes_outputs,
            max_boxes="1",
        ),
        step(
            "select_masks",
            "SelectMasks",
            (*decoder.outputs[::-1], prompts[1], ORIGINAL_SIZE),
            (
                TensorSpec("masks", "STRING", (-1,)),
                TensorSpec("mask_scores", "FP32", (-1,)),
            ),
        ),
    )


def _caption_tensors(pipeline: PipelineSpec) -> tuple[TensorSpec, ...]:
    detector = grounding_dino.network(
        pipeline.grounding_dino, max_batch_size=1, queue=pipeline.queues.inner
    )
    names = ("input_ids", "attention_mask", "position_ids", "text_self_attention_masks")
    by_name = {tensor.name: tensor for tensor in detector.inputs}
    return (*(by_name[name] for name in names), TOKEN_SPANS)


def _pixels(pipeline: PipelineSpec) -> tuple[TensorSpec, ...]:
    clip_edge, sam_edge = pipeline.clip.image_size, pipeline.sam.image_size
    return (
        ORIGINAL_SIZE,
        TensorSpec("clip_pixel_values", "UINT8", (3, clip_edge, clip_edge)),
        TensorSpec("grounding_dino_pixel_values", "UINT8", (3, *pipeline.grounding_dino.canvas_hw)),
        TensorSpec("grounding_dino_valid_hw", "INT32", (2,)),
        TensorSpec("sam_pixel_values", "UINT8", (3, sam_edge, sam_edge)),
        TensorSpec("sam_valid_hw", "INT32", (2,)),
    )
