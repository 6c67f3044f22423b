"""One job by one call, without an object to keep."""

from collections.abc import Mapping
from typing import Any

from .api import ModelAPI
from .listeners import ProgressCallback, ResultCallback


def do_api_request(
    api_server: str,
    endpoint_name: str,
    params: Mapping[str, Any],
    api_key: str | None = None,
    *,
    result_callback: ResultCallback | None = None,
    progress_callback: ProgressCallback | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Run one job on a server and give its result; for more than one keep a ModelAPI.

    Arguments, result and errors are those of ModelAPI and ModelAPI.do_api_request.
    """
    with ModelAPI(api_server, endpoint_name, api_key, timeout=timeout) as api:
        return api.do_api_request(params, result_callback, progress_callback)


async def do_api_request_async(
    api_server: str,
    endpoint_name: str,
    params: Mapping[str, Any],
    api_key: str | None = None,
    *,
    result_callback: ResultCallback | None = None,
    progress_callback: ProgressCallback | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """As do_api_request, on the running event loop; callbacks may be plain or asynchronous."""
    async with ModelAPI(api_server, endpoint_name, api_key, timeout=timeout) as api:
        return await api.do_api_request_async(params, result_callback, progress_callback)
