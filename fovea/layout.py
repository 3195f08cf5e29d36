"""Where the files of an export lie, for those who write them and those who read them.

FOLDER/manifest.json, FOLDER/model_repository/MODEL/1/model.onnx
"""

MANIFEST = "manifest.json"
REPOSITORY = "model_repository"
# Of every model, as a folder; and a network's graph in it.
VERSION = "1"
GRAPH = "model.onnx"
