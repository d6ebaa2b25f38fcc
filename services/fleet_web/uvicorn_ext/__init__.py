"""What relies on uvicorn's private state; used only with the versions in `versions`."""
