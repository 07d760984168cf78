// SPDX-License-Identifier: MIT
// kv.hpp: what is behind env.KV: keys and values in an SQLite file, off the event loop.
// SQLite blocks, so it has a thread of its own. Calls queue up; whatever has queued while the last batch ran shares one
// transaction; results come back to the KJ loop through an eventfd.
//   KvStore kv(io.unixEventPort, "data.sqlite");
//   kj::Promise<kj::Maybe<kj::Array<kj::byte>>> value = kv.get(kj::str("greeting"));
#pragma once

#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/exception.h>
#include <kj/function.h>
#include <kj/io.h>
#include <kj/string.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

struct sqlite3;

namespace worker {

/// Keys and values in one SQLite file.
///   Threads   the KJ thread that made it; the SQLite thread is inside
///   Cost      a call: one lock and an allocation. A batch of writes: one commit
///   Errors    the constructor throws what SQLite says; a call's promise is rejected with it
///   Lifetime  its destructor finishes what was queued, then joins the thread. Dropping a promise does not undo the call
class KvStore {
 public:
  /// `file` empty: a temporary file that SQLite deletes at the end.
  KvStore(kj::UnixEventPort& port, const std::string& file);
  ~KvStore() noexcept(false);
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;

  kj::Promise<kj::Maybe<kj::Array<kj::byte>>> get(kj::String key);
  kj::Promise<void> put(kj::String key, kj::Array<kj::byte> value, double seconds_to_live);  // 0: for ever
  kj::Promise<bool> remove(kj::String key);                                                  // whether it was there
  /// At most `limit` names that begin with `prefix`, in order, after `after`.
  kj::Promise<kj::Array<kj::String>> list(kj::String prefix, std::int64_t limit, kj::String after);

 private:
  /// One call: performed on the SQLite thread, finished and destroyed on the KJ thread.
  class Job {
   public:
    virtual ~Job() noexcept(false) = default;
    virtual void perform(sqlite3* database) = 0;
    virtual void fail(kj::Exception exception) = 0;
    virtual void finish() = 0;
  };
  template <class T>
  class TypedJob;

  template <class T>
  kj::Promise<T> queue(kj::Function<T(sqlite3*)> work);
  void run();
  kj::Promise<void> finish_jobs();

  sqlite3* database_ = nullptr;
  kj::AutoCloseFd done_event_;
  kj::UnixEventPort::FdObserver observer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool closing_ = false;                      // with mutex_
  std::deque<std::unique_ptr<Job>> waiting_;  // with mutex_
  std::deque<std::unique_ptr<Job>> done_;     // with mutex_
  std::thread thread_;
  kj::Promise<void> finisher_;
};

}  // namespace worker
