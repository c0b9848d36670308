// How the lab is, for people (a table of at most 80 columns) and for programs (JSON). One thread.
#pragma once

#include <string>

#include "src/lab/lab_model.h"

namespace baton::lab {

std::string status_json(const Lab& lab);
std::string status_table(const Lab& lab);

}  // namespace baton::lab
