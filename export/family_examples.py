"""A well-known checkpoint of each family, as a row of a deployment's [members] names it."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "align": '"kakaobrain/align-base"',
    "clip": '"openai/clip-vit-base-patch32"',
    "convnext": '"facebook/convnext-tiny-224"',
    "convnextv2": '"facebook/convnextv2-tiny-22k-224"',
    "d_fine": '"ustc-community/dfine-small-coco"',
    "detr": '"facebook/detr-resnet-50@no_timm"',
    "dino": '"facebook/dino-vits16"',
    "dinov2": '"facebook/dinov2-base"',
    "dinov3": '"facebook/dinov3-vits16-pretrain-lvd1689m"',
    "efficientnet": '"google/efficientnet-b0"',
    "grounding_dino": '"IDEA-Research/grounding-dino-tiny"',
    "hq_sam": '"syscv-community/sam-hq-vit-base"',
    "imagebind": '{ checkpoint = "./imagebind", family = "imagebind" }',
    "mask2former": '"facebook/mask2former-swin-tiny-coco-panoptic"',
    "metaclip_2": '"facebook/metaclip-2-worldwide-huge-quickgelu"',
    "mobile_sam": '"./mobile_sam.pt"',
    "open_clip": '"laion/CLIP-convnext_base_w-laion2B-s13B-b82K"',
    "owlv2": '"google/owlv2-base-patch16-ensemble"',
    "owlvit": '"google/owlvit-base-patch32"',
    "rt_detr": '"PekingU/rtdetr_r50vd"',
    "sam": '"facebook/sam-vit-base"',
    "sam2": '"facebook/sam2.1-hiera-tiny"',
    "segformer": '"nvidia/segformer-b0-finetuned-ade-512-512"',
    "siglip": '"google/siglip-base-patch16-224"',
    "yolo_nas": '{ checkpoint = "./yolo_nas_s.onnx", names = "person, bicycle, …" }',
    "yolov8": '"./yolov8n.onnx"',
}
