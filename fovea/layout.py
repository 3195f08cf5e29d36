"""Where the files of an export lie, for writers and readers.

FOLDER/manifest.json, FOLDER/model_repository/MODEL/1/model.onnx
"""

MANIFEST = "manifest.json"
REPOSITORY = "model_repository"
# The version folder of every model; and a network's graph in it.
VERSION = "1"
GRAPH = "model.onnx"
