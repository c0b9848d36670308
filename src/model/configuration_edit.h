// Changes one value or one server in the text of a configuration and leaves everything else, comments included, as it is. Pure. Any thread.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/model/configuration.h"

namespace baton {

/// Sets a text value of a mirror: [group.GROUP.mirror.NAME] `key` = "value". An absent key is added below `size`. Errors:
/// the file cannot be read, has no such mirror, or is written in a way that only a person should edit.
Result<std::string> set_mirror_value(const std::string& text, const std::string& group, const std::string& mirror,
                                     const std::string& key, const std::string& value);

/// With a section for one more server at the end. Errors: it is taken, or does not fit (as parse_configuration() says).
Result<std::string> add_server(const std::string& text, const ServerConfiguration& server);

/// Without the section of a server. Errors: there is none, groups name it, or it is written in a way that only a person
/// should edit.
Result<std::string> remove_server(const std::string& text, const std::string& name);

}  // namespace baton
