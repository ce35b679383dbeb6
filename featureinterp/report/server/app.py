"""The routes: pages, the JSON API under `/api`, and the page that documents it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from featureinterp import __version__
from featureinterp.display import visible
from featureinterp.errors import FeatureInterpError
from featureinterp.report.server import schema
from featureinterp.report.server.bench import Bench, feature_of
from featureinterp.report.server.guard import Access, ASGIApp, Guard, wants_page
from featureinterp.report.server.limits import Limits, RefusalError
from featureinterp.report.server.queue import ClientGoneError, ModelQueue
from featureinterp.report.server.served_run import ServedRun

T = TypeVar("T")

_REFUSALS: dict[int | str, dict[str, object]] = {
    400: {"description": "The body cannot be read: it is no UTF-8, or nested too deeply."},
    401: {"description": "The server asks for a token, and there is none or another one."},
    404: {"description": "The run has no such feature."},
    408: {"description": "The body did not come in time."},
    409: {"description": "The run cannot answer this: its subject is not there, or the feature has no explanation."},
    413: {"description": "The body is too large."},
    415: {"description": "The body is not sent as JSON."},
    421: {"description": "The Host header names another host."},
    422: {"description": "A value is wrong: too long, empty, out of range."},
    429: {"description": "Too many requests; `Retry-After` says when the next one is served."},
    502: {"description": "The run's simulator is a language model that cannot be asked."},
    504: {"description": "The model took too long."},
    503: {"description": "Too many requests wait for the model; `Retry-After` says when to try again."},
}
_ANSWERS = {status: {**told, "model": schema.Refusal} for status, told in _REFUSALS.items()}

_DESCRIPTION = (
    "Ask a run about its features: what they do on a sentence, what their explanations expect there, and how an edited "
    "explanation does on the test sentences. Everything is computed on this machine."
)


def make_app(served: ServedRun, bench: Bench, access: Access, limits: Limits | None = None) -> ASGIApp:
    """Return the application that serves a run.

    Args:
        served: pages and results of the run.
        bench: live queries about sentences and rules.
        access: access rules.
        limits: request limits.
    """
    limits = limits or Limits()
    queue = ModelQueue(limits.waiting, limits.model_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(queue.close, bench.close)

    app = FastAPI(
        title="featureinterp",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_pages(app, served)
    _add_lists(app, served, bench)
    _add_bench(app, served, bench, queue)
    _add_errors(app, served)
    return Guard(app, access, limits, lambda refusal, page: _refused(refusal, page, served))


def _add_pages(app: FastAPI, served: ServedRun) -> None:
    async def html(make: Callable[..., bytes], *arguments: object, **values: object) -> HTMLResponse:
        return HTMLResponse(await asyncio.to_thread(make, *arguments, **values))

    @app.get("/", include_in_schema=False)
    @app.get("/index.html", include_in_schema=False)
    async def index() -> HTMLResponse:
        return await html(served.index_page)

    @app.get("/features/{name}.html", include_in_schema=False)
    async def feature(name: str) -> HTMLResponse:
        return await html(served.feature_page, name)

    @app.get("/features/{name}.json", include_in_schema=False)
    async def feature_json(name: str) -> Response:
        return Response(await asyncio.to_thread(served.feature_json, name), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        api, server = app.openapi(), str(request.base_url).rstrip("/")
        return await html(served.page, "docs.html.j2", api=api, server=server, schema_in=partial(_schema_in, api))

    @app.get("/{asset}", include_in_schema=False)
    async def asset(asset: str) -> Response:
        kind = "text/css" if asset.endswith(".css") else "text/javascript"
        return Response(await asyncio.to_thread(served.asset, asset), media_type=kind)


def _schema_in(api: dict[str, Any], message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a request or answer, or an empty one."""
    schema = message.get("content", {}).get("application/json", {}).get("schema", {})
    return api["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}


def _add_lists(app: FastAPI, served: ServedRun, bench: Bench) -> None:
    @app.get("/api/run", responses=_ANSWERS, summary="What is served")
    async def run() -> schema.Run:
        summary = await asyncio.to_thread(served.summary)
        return schema.Run(
            title=visible(summary.title),
            finished=summary.finished,
            counts=dict(summary.counts),
            settings={visible(name): visible(value) for name, value in summary.settings.items()},
            simulator=bench.simulator,
        )

    @app.get("/api/features", responses=_ANSWERS, summary="List the run's features")
    async def features(
        layer: Annotated[schema.Layer | None, Query(description="Only those of this layer.")] = None,
        first: Annotated[int, Query(ge=0, le=2**31 - 1, description="How many to pass over.")] = 0,
        n: Annotated[int, Query(ge=1, le=1000, description="How many to list at most.")] = 100,
    ) -> schema.Features:
        entries = [
            entry for entry in (await asyncio.to_thread(served.entries)).values() if layer in (None, entry.key.layer)
        ]
        return schema.Features(total=len(entries), features=[feature_of(entry) for entry in entries[first : first + n]])

    @app.get(
        "/api/features/{name}",
        response_model=dict[str, object],
        responses=_ANSWERS,
        summary="Get all that is known of a feature",
    )
    async def feature(name: str) -> Response:
        """The same as `features/NAME.json`; `featureinterp.codec.decode` reads it as a `FeatureResult`."""  # noqa: D401
        body = await asyncio.to_thread(served.feature_json, name)
        return Response(body, media_type="application/json")


def _add_bench(app: FastAPI, served: ServedRun, bench: Bench, queue: ModelQueue) -> None:
    async def in_turn(job: Callable[[], Awaitable[T]], request: Request) -> T:
        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        async def work() -> T:
            return await job()

        return await queue.run(work, gone)

    @app.post("/api/activations", responses=_ANSWERS, summary="What a feature does on a sentence")
    async def activations(asked: schema.ActivationsRequest, request: Request) -> schema.Activations:
        """True activations from the subject model, expected ones from the explanation, token by token."""
        result = await asyncio.to_thread(served.find, asked.layer, asked.latent, asked.hook)
        return await in_turn(lambda: bench.activations(result, asked.text, asked.rules), request)

    @app.post("/api/score", responses=_ANSWERS, summary="How rules do on a feature's test sentences")
    async def score(asked: schema.ScoreRequest, request: Request) -> schema.ScoreAnswer:
        """Against each source of sentences the rules should not fire on, beside the stored explanation."""
        address = asked.feature
        result = await asyncio.to_thread(served.find, address.layer, address.latent, address.hook)
        return await in_turn(lambda: bench.score(result, asked.rules), request)

    @app.post("/api/top", responses=_ANSWERS, summary="The features that fire most strongly on a sentence")
    async def top(asked: schema.TopRequest, request: Request) -> schema.Top:
        """Each by its largest activation as a share of its largest on the corpus."""
        entries = list((await asyncio.to_thread(served.entries)).values())
        return await in_turn(lambda: bench.top(entries, asked.text, asked.n), request)


def _add_errors(app: FastAPI, served: ServedRun) -> None:
    def answer(refusal: RefusalError, request: Request) -> Response:
        return _refused(refusal, wants_page(request.scope), served)

    @app.exception_handler(RefusalError)
    async def refusal(request: Request, error: RefusalError) -> Response:
        return answer(error, request)

    @app.exception_handler(FeatureInterpError)
    async def ours(request: Request, error: FeatureInterpError) -> Response:
        return answer(RefusalError(409, error.problem, error.hint), request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(_in_words(fault) for fault in error.errors()[:5])
        return answer(RefusalError(422, told, "/docs describes the request"), request)

    @app.exception_handler(HTTPException)
    @app.exception_handler(400)
    @app.exception_handler(404)
    @app.exception_handler(405)
    async def http(request: Request, error: HTTPException) -> Response:
        words = {
            400: "the request's body is no JSON",
            404: "there is nothing here",
            405: "this address does not take that method",
        }
        told = words.get(error.status_code, str(error.detail))
        refused = answer(RefusalError(error.status_code, told, "open the list of features, or /docs"), request)
        refused.headers.update(error.headers or {})
        return refused

    @app.exception_handler(ClientGoneError)
    async def gone(_: Request, __: ClientGoneError) -> Response:
        return PlainTextResponse("", 499)  # the client has disconnected


def _refused(refusal: RefusalError, page: bool, served: ServedRun) -> Response:
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    problem, hint = visible(refusal.problem), visible(refusal.hint)
    if not page:
        return JSONResponse({"problem": problem, "hint": hint}, refusal.status, headers)
    if refusal.status in (401, 421):  # without access there is no stylesheet either
        return PlainTextResponse(f"featureinterp: {problem} ({hint})\n", refusal.status, headers)
    body = served.page("refusal.html.j2", problem=problem, hint=hint)
    return HTMLResponse(body, refusal.status, headers)


def _in_words(fault: dict[str, object]) -> str:
    """Describe an invalid value, without repeating it."""
    location = fault["loc"]
    assert isinstance(location, tuple)
    where = ".".join(visible(str(part))[:50] for part in location if part != "body")
    if fault["type"] == "string_too_short":
        told = "is empty"
    elif fault["type"] == "string_unicode":
        told = "holds a lone surrogate"
    elif fault["type"] == "json_invalid":
        return "the request's body is not JSON"
    else:
        told = f"is invalid: {fault['msg']}"
    return f"{where or 'the request'} {told}"
