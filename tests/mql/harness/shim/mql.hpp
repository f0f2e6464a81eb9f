// MQL5 for g++: the language's types and the terminal's functions, as far as Tickwire's programs use them.
// Sockets, TLS, files and clocks are real (with faults on demand); everything else asks the test over the control
// channel. Read core, text, arrays, control, then whatever you need.
#pragma once
#include "core.hpp"
#include "constants.hpp"
#include "text.hpp"
#include "arrays.hpp"
#include "control.hpp"
#include "clock.hpp"
#include "files.hpp"
#include "net.hpp"
#include "crypt.hpp"
#include "market.hpp"
#include "trade.hpp"
#include "onnx.hpp"
#include "program.hpp"
