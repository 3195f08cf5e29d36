"""Well-known checkpoints: one of each family for a deployment, and those of real size."""

from __future__ import annotations

from collections.abc import Mapping

# By family, as a row of a deployment's [members] names it.
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

# What people call the architectures of real size: stand-ins, and those of `export.yolo_report`.
KNOWN_AS: Mapping[str, str] = {
    "align": "ALIGN, EfficientNet-B7",
    "clip": "CLIP ViT-B/32",
    "convnext": "ConvNeXt-T",
    "convnextv2": "ConvNeXt V2-T",
    "detr_resnet_50": "DETR R50",
    "dfine_small": "D-FINE-S",
    "dino": "DINO ViT-S/16",
    "dinov2": "DINOv2 ViT-B/14",
    "dinov3": "DINOv3 ViT-S/16",
    "efficientnet": "EfficientNet-B0",
    "grounding_dino": "GroundingDINO-T",
    "hq_sam": "HQ-SAM ViT-B",
    "imagebind": "ImageBind huge",
    "mask2former-swin-tiny-coco": "Mask2Former Swin-T",
    "metaclip_2": "MetaCLIP 2 ViT-B/32",
    "mobile_sam": "MobileSAM",
    "open_clip_convnext": "OpenCLIP ConvNeXt-B",
    "open_clip_resnet": "OpenCLIP RN50",
    "open_clip_vit": "OpenCLIP ViT-B/32",
    "owlv2": "OWLv2 B/16",
    "owlvit": "OWL-ViT B/32",
    "rtdetr_r50vd": "RT-DETR R50",
    "rtdetr_v2_r18vd": "RT-DETRv2 R18",
    "sam": "SAM ViT-B",
    "sam2": "SAM 2 Hiera-T",
    "segformer-b0-ade": "SegFormer-B0",
    "siglip": "SigLIP ViT-B/16",
    "yolo_nas_s": "YOLO-NAS-S",
    "yolov8n": "YOLOv8n",
}
