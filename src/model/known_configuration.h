// The configuration of a text that is read again and again: each command is judged by the text in the state of the cluster
// (docs/protocol.md, "Commands"), and many groups make it long. Any thread; each one remembers for itself.
#pragma once

#include <memory>
#include <string>

#include "src/model/configuration_toml.h"

namespace baton {

/// What parse_configuration() says of a text, shared: used like its result.
class KnownConfiguration {
 public:
  explicit KnownConfiguration(std::shared_ptr<const Result<Configuration>> parsed) : parsed_(std::move(parsed)) {}

  explicit operator bool() const { return parsed_->has_value(); }
  const Configuration& operator*() const { return **parsed_; }
  const Configuration* operator->() const { return &**parsed_; }
  const Error& error() const { return parsed_->error(); }

 private:
  std::shared_ptr<const Result<Configuration>> parsed_;
};

/// Exactly what parse_configuration(text) gives, but a text that is among this thread's last few is not parsed again.
KnownConfiguration known_configuration(const std::string& text);

}  // namespace baton
