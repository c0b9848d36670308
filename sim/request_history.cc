// Requests, their place in the log and their answers. Deterministic, one thread.
#include "sim/request_history.h"

#include <algorithm>
#include <cstdlib>

#include "sim/world.h"

namespace baton::sim {

namespace {

std::string author_of(const Command& command) {
  return std::visit(
      [](const auto& one) -> std::string {
        if constexpr (requires { one.author; }) return one.author;
        return {};
      },
      command);
}

/// 0: none of the simulated operators'.
uint64_t number_in(const std::string& author) {
  const std::string start = "operator ";
  return author.starts_with(start) ? std::strtoull(author.c_str() + start.size(), nullptr, 10) : 0;
}

}  // namespace

uint64_t RequestHistory::begin(bool beside_log) {
  requests_.push_back(Request{answered_up_to_, 0, {}, beside_log});
  return requests_.size();
}

void RequestHistory::committed(const database::Entry& entry, const Applied& outcome) {
  const uint64_t number = number_in(author_of(entry.command));
  if (number == 0 || number > requests_.size()) return;
  Request& request = requests_[number - 1];
  if (request.index != 0)
    throw Violation("linearizable", fmt::format("{} is in the log twice, as entries {} and {}", describe(entry.command),
                                                request.index, entry.index));
  if (entry.index <= request.after)
    throw Violation("linearizable", fmt::format("{} became entry {}, but entry {} had been answered before it was asked for",
                                                describe(entry.command), entry.index, request.after));
  request.index = entry.index;
  request.outcome = outcome;
}

void RequestHistory::restored(uint64_t index) {
  answered_up_to_ = std::min(answered_up_to_, index);
  for (Request& request : requests_) {
    request.after = std::min(request.after, index);
    if (request.index > index) request.index = 0;
  }
}

void RequestHistory::answered(ServerId server, uint64_t number, bool decided, const Applied& outcome) {
  const auto found = sent_.find({server, number});
  if (found == sent_.end() || !decided) return;
  const Request& request = requests_[found->second - 1];
  if (request.index == 0 && request.beside_log && !outcome.applied) return;
  if (request.index == 0)
    throw Violation("linearizable", fmt::format("request {} of server {} was answered, but is not in the log", number, server));
  if (request.outcome.applied != outcome.applied || request.outcome.refusal != outcome.refusal)
    throw Violation("linearizable", fmt::format("request {} of server {} was answered otherwise than entry {} says", number,
                                                server, request.index));
  ++answers_;
  answered_up_to_ = std::max(answered_up_to_, request.index);
}

}  // namespace baton::sim
