/* openapi: the HTTP API as an OpenAPI 3.1 document, made from the tables of ops and routes; nothing in it is written
 * twice. */
#pragma once
#include "base/buf.h"

void openapi_print(struct buf *out);
