/* ws: the one callback through which libwebsockets speaks to the gateway. */
#pragma once
#include <libwebsockets.h>

int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
