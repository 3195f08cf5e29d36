"""The REST gateway and the page: FastAPI over `AsyncClient`."""
