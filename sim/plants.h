// Switches a planted bug on by its name (src/base/planted.h). Only the planted build knows any. One thread, before runs.
#pragma once

#include <string>

namespace baton::sim {

/// False: there is no such bug, or this is not the planted build.
bool plant(const std::string& name);

}  // namespace baton::sim
