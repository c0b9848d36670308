// Changes one value in the text of a configuration and leaves everything else, comments included, as it is. Pure. Any thread.
#pragma once

#include <string>

#include "src/base/result.h"

namespace baton {

/// Sets a text value of a mirror: [group.GROUP.mirror.NAME] `key` = "value". An absent key is added below `size`. Errors:
/// the file cannot be read, has no such mirror, or is written in a way that only a person should edit.
Result<std::string> set_mirror_value(const std::string& text, const std::string& group, const std::string& mirror,
                                     const std::string& key, const std::string& value);

}  // namespace baton
