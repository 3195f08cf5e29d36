"""The Python models that Triton runs between the networks, as plain numpy: testable without it.

A step takes the tensors of one request without batch axis and returns those that are wanted.
`fovea.array_model.ArrayModel` connects it to Triton.
"""

# The module of each step, by the name of its class.
STEPS = {
    "PreprocessImage": "fovea.steps.first",
    "TokenizeText": "fovea.steps.labels",
    "PrepareModality": "fovea.steps.modality",
    "RankLabels": "fovea.steps.labels",
    "RankClasses": "fovea.steps.classes",
    "SelectClasses": "fovea.steps.classes",
    "SelectBoxes": "fovea.steps.boxes",
    "SelectClassBoxes": "fovea.steps.boxes",
    "SelectBoxesByEmbeddings": "fovea.steps.boxes",
    "EncodeImage": "fovea.steps.masks",
    "SelectMasks": "fovea.steps.masks",
    "SegmentEverything": "fovea.steps.everything",
    "EmbedObjects": "fovea.steps.objects",
    "SegmentScene": "fovea.steps.scene",
}
