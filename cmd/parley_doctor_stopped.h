/* parley_doctor_stopped: looks at the data folder of a server that does not run: what a start needs, and what it would
 * do. Reads the logs and what the views say of themselves, not the stores' tables (`parley verify` does). */
#pragma once
#include "cmd/parley_doctor_say.h"

/* 0: it looked; 2: it could not, which was said. */
int doctor_stopped(struct diagnosis *d);
