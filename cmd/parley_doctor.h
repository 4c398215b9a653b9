/* parley_doctor: `parley doctor`: how a running or stopped server is, in sentences, and what an operator is to do. */
#pragma once
int doctor(int argc, char **argv);
void doctor_help(void);
