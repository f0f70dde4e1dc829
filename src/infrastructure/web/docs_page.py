"""The API's documentation as a page: Swagger UI from this server alone."""

from html import escape
from pathlib import Path
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from swagger_ui_bundle import swagger_ui_path

from infrastructure.web.errors import NoSuchPath

router = APIRouter(include_in_schema=False)

FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
A_DAY_S = 86_400

# Inline styles and data: images are what Swagger UI draws its icons with.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Roundsman API</title>
<link rel="stylesheet" href="{base}/docs/swagger-ui.css">
<link rel="icon" href="{base}/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{base}/docs/swagger-ui-bundle.js"></script>
<script src="{base}/docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
});
"""


@router.get("/")
async def start_page(request: Request) -> Response:
    """Lead to the documentation."""
    return RedirectResponse(f"{request.scope['root_path']}/docs", status_code=307)


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """Show the page. It is the same for everybody: what it calls asks for a key."""
    page = PAGE.format(base=escape(request.scope["root_path"]))
    return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@router.get("/docs/start.js")
async def docs_script() -> Response:
    """Start Swagger UI; a file of its own, so that the page allows no inline script."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
async def docs_file(name: str, request: Request) -> Response:
    """Send one of Swagger UI's own files."""
    if name not in FILES:
        base = request.scope["root_path"]
        raise NoSuchPath(path=request.scope["path"], api=f"{base}/api/v1", docs=f"{base}/docs")
    headers = {"Cache-Control": f"public, max-age={A_DAY_S}"}
    return FileResponse(cast(Path, swagger_ui_path) / name, media_type=FILES[name], headers=headers)
