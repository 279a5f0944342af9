#include "server/answer/mailbox.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::vector<TokenEvent> tokens(size_t count, size_t top) {
  TokenEvent event;
  event.top.resize(top);
  return std::vector<TokenEvent>(count, event);
}

TEST(MailboxTest, OnePutMayBeLargerThanTheBound) {
  Mailbox mailbox(1000);
  std::vector<Delivery> taken;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(mailbox.put(0, tokens(100, 20)));
    EXPECT_TRUE(mailbox.take(taken));
    EXPECT_EQ(taken.size(), 100U);
  }
  EXPECT_FALSE(mailbox.overflowed());
}

TEST(MailboxTest, WhatWaitsBeyondTheBoundEndsIt) {
  Mailbox mailbox(1000);
  std::vector<Delivery> taken;
  EXPECT_TRUE(mailbox.put(0, tokens(100, 0)));
  EXPECT_FALSE(mailbox.put(0, tokens(1, 0)));
  EXPECT_TRUE(mailbox.overflowed());
  EXPECT_TRUE(mailbox.take(taken));
  EXPECT_EQ(taken.size(), 100U);
  EXPECT_FALSE(mailbox.put(0, tokens(1, 0)));  // there is a hole before it
}

TEST(MailboxTest, TokensOfOneChoiceAndStepBelongTogether) {
  Mailbox mailbox(1 << 20);
  std::vector<TokenEvent> step(5);
  step[2].choice = step[3].choice = 1;
  mailbox.put(0, step);
  mailbox.put(0, std::span(step).last(1));
  std::vector<Delivery> taken;
  EXPECT_TRUE(mailbox.take(taken));
  std::vector<bool> more;
  for (const Delivery& delivery : taken) more.push_back(delivery.more);
  EXPECT_EQ(more, (std::vector<bool>{true, false, true, false, false, false}));
}

TEST(MailboxTest, WakesOnceForWhatGathers) {
  Mailbox mailbox(1 << 20);
  std::vector<Delivery> taken;
  int wakes = 0;
  mailbox.put(0, tokens(1, 0));
  mailbox.watch([&] { ++wakes; });
  mailbox.put(0, tokens(1, 0));
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(mailbox.take(taken));
  EXPECT_FALSE(mailbox.take(taken));
  mailbox.put(0, FinishEvent());
  EXPECT_EQ(wakes, 2);
  mailbox.close();
  EXPECT_FALSE(mailbox.put(0, tokens(1, 0)));
  EXPECT_FALSE(mailbox.take(taken));
}

}  // namespace
}  // namespace millrace
